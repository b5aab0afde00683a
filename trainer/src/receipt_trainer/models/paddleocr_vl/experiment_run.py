"""Experiments, one after the other: what is done is not done again, and what fails does not stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from receipt_trainer.config.paddleocr_vl import load_vl_config
from receipt_trainer.contract.names import RUN_FILE
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.errors import UserError
from receipt_trainer.files import write_atomically
from receipt_trainer.models.paddleocr_vl.evaluation_files import read_scores
from receipt_trainer.models.paddleocr_vl.experiment_log import (
    Result,
    from_record,
    from_scores,
    read_log,
    step_of,
    write_log,
)
from receipt_trainer.models.paddleocr_vl.experiments import Experiment, parameters

_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class Place:
    """Where an experiment's files are."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration with all that it ran with."""
        return self.folder / "config.yaml"

    @property
    def run(self) -> Path:
        """The run."""
        return self.folder / "run"

    @property
    def scores(self) -> Path:
        """The scores of its model."""
        return self.folder / "scores.json"


Do = Callable[[Experiment, Place], str | None]
"""Does something and returns None, or why it failed."""


def run_experiments(
    experiments: Sequence[Experiment],
    output: Path,
    *,
    train: Do,
    evaluate: Do,
    own_scores: bool = True,
    retry_failed: bool = False,
    tell: Callable[[str], None] = lambda text: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[Result]:
    """Train and evaluate each experiment whose result is not in the log of `output` yet, and keep the log.

    Args:
        train: trains into `Place.run`, going on with what is there.
        evaluate: scores the model of `Place.run` into `Place.scores`.
        own_scores: where a run has scored its model itself, take these scores instead.
        retry_failed: do experiments again that failed before, from their last checkpoint.

    Raises:
        UserError: a file was changed after its experiment ran.
    """
    known = read_log(output)
    for experiment in experiments:
        require_unchanged(experiment, known.get(experiment.name), Place(output / experiment.name))
    for number, experiment in enumerate(experiments, start=1):
        before = known.get(experiment.name)
        if before is not None and (before.status == "complete" or not retry_failed):
            tell(f"{number} of {len(experiments)}: {experiment.name} is {before.status}")
            continue
        tell(f"{number} of {len(experiments)}: {experiment.name}: {experiment.said}")
        place = Place(output / experiment.name)
        write_atomically(place.config, _as_yaml(experiment).encode())
        known[experiment.name] = _result(experiment, place, train, evaluate, own_scores, now)
        write_log(output, in_order(known, experiments))
    return list(in_order(known, experiments))


def require_unchanged(experiment: Experiment, result: Result | None, place: Place) -> None:
    """Refuse to mix two configurations under one name.

    Raises:
        UserError: what ran there was another configuration.
    """
    there = load_vl_config(place.config) if place.config.is_file() else experiment.config
    begun = parameters(there) != parameters(experiment.config)
    if begun or (result is not None and result.digest != experiment.digest):
        raise UserError(
            f"{experiment.file} was changed after {experiment.name} ran: give it another name, or remove "
            f"{place.folder} and its line in the log"
        )


def in_order(results: dict[str, Result], experiments: Sequence[Experiment]) -> Iterator[Result]:
    """Results in the order of the experiments, then those of files that are gone."""
    names = [experiment.name for experiment in experiments]
    yield from (results[name] for name in names if name in results)
    yield from (result for name, result in results.items() if name not in names)


def _as_yaml(experiment: Experiment) -> str:
    values = experiment.config.model_dump(mode="json")
    values["output_dir"] = None
    values["experiment"]["name"] = experiment.name
    text: str = yaml.safe_dump({key: value for key, value in values.items() if value is not None}, sort_keys=False)
    return text


def _result(
    experiment: Experiment, place: Place, train: Do, evaluate: Do, own_scores: bool, now: Callable[[], datetime]
) -> Result:
    record = _record(place)
    failure = None
    if record is None or record.status != "complete":
        failure = train(experiment, place)
        record = _record(place)
    values: dict[str, Any] = from_record(record) if record is not None else {}
    if not own_scores:
        values |= {"field_accuracy": None, "present_accuracy": None, "teds": None}
    notes = []
    if failure is not None:
        notes.append(failure[:_REASON])
    elif values.get("present_accuracy") is None:
        unscored = evaluate(experiment, place)
        if unscored is None:
            values |= from_scores(read_scores(place.scores))
        else:
            notes.append(f"not scored: {unscored[:_REASON]}")
    return Result(
        name=experiment.name,
        digest=experiment.digest,
        changes=experiment.said,
        status="complete" if failure is None else "failed",
        failed_step=step_of(failure or ""),
        notes="; ".join(notes + _remarks(record)),
        finished_at=now().isoformat(timespec="seconds"),
        **values,
    )


def _record(place: Place) -> RunRecord | None:
    try:
        return RunRecord.load(place.run / RUN_FILE)
    except (OSError, ValidationError):
        return None


def _remarks(record: RunRecord | None) -> list[str]:
    """What a table of final values would hide."""
    if record is None:
        return []
    remarks = []
    left_out = record.vl.get("left_out", [])
    if left_out:
        remarks.append(f"{len(left_out)} documents were too long")
    evaluations, best = record.vl.get("evaluations", []), record.vl.get("best") or {}
    if best and evaluations[-1]["step"] != best["step"]:
        remarks.append(f"best at step {best['step']} of {evaluations[-1]['step']}")
    return remarks
