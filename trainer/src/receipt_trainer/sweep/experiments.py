"""Experiments on this machine: one after the other, a line each in a log, the same as tables, a ranking."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from receipt_trainer.config.job_file import PaddleOcrVlJob, load_job_file
from receipt_trainer.contract.names import RUN_FILE
from receipt_trainer.contract.run_record import AnswerScores, AnyRecord, PaddleOcrVlRecord, VlResults, load_record
from receipt_trainer.errors import UserError
from receipt_trainer.files import write_atomically
from receipt_trainer.sweep.folder import Experiment, parameters

LOG: Final = "experiments.jsonl"
SPIKE: Final = 1.1
"""An evaluation whose loss is above so many times the lowest one before it is a spike."""

LAST: Final = 5
"""Evaluations at the end of a run over which its loss's deviation is taken."""


_STEP = re.compile(r"\bstep (\d+): the (?:loss|gradient|validation loss)")


class Result(BaseModel):
    """What came of an experiment. None: not known.

    `present_accuracy` is the field accuracy over the fields that documents have, `field_accuracy` that over all: an
    empty object is right there wherever the truth is null. `spread` is the standard deviation of the last `LAST`
    evaluation losses over their mean; `spikes` counts evaluations above `SPIKE` times the lowest loss before them.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    digest: str
    changes: str
    status: Literal["complete", "failed", "submitted"]
    eval_loss: float | None = None
    field_accuracy: float | None = None
    present_accuracy: float | None = None
    teds: float | None = None
    hours: float | None = None
    peak_memory_gib: float | None = None
    spread: float | None = None
    spikes: int | None = None
    failed_step: int | None = None
    notes: str = ""
    job_id: str | None = None
    finished_at: str | None = None


def stability(losses: Sequence[float]) -> tuple[float | None, int | None]:
    """Spread and spikes of a run's evaluation losses; unknown with fewer than two."""
    if len(losses) < 2:
        return None, None
    last = losses[-LAST:]
    mean = statistics.fmean(last)
    spikes = sum(loss > SPIKE * min(losses[:at]) for at, loss in enumerate(losses) if at)
    return (statistics.pstdev(last) / mean if mean else 0.0), spikes


def step_of(reason: str) -> int | None:
    """The step at which the loss or its gradient became no number, if that was the reason."""
    found = _STEP.search(reason)
    return int(found[1]) if found else None


def from_record(record: AnyRecord) -> dict[str, Any]:
    """What a run record says of a result."""
    found = record.vl if isinstance(record, PaddleOcrVlRecord) else VlResults()
    losses = [row.eval_loss for row in found.evaluations if row.eval_loss is not None and math.isfinite(row.eval_loss)]
    spread, spikes = stability(losses)
    scores = found.scores or AnswerScores()
    return {
        "eval_loss": found.best.eval_loss if found.best else None,
        "field_accuracy": scores.field_accuracy,
        "present_accuracy": scores.present_accuracy,
        "teds": scores.teds,
        "hours": record.timings["train_s"] / 3600 if "train_s" in record.timings else None,
        "peak_memory_gib": found.peak_memory_gib,
        "spread": spread,
        "spikes": spikes,
    }


def from_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation's scores (R.json) say of a result."""
    names = {"field_accuracy": "fields", "present_accuracy": "presents", "teds": "teds"}
    return {ours: scores["scores"][theirs]["value"] for ours, theirs in names.items()}


def read_log(folder: Path) -> dict[str, Result]:
    """Results by name; none if there is no log yet.

    Raises:
        UserError: a line is no result.
    """
    path, found = folder / LOG, {}
    if not path.is_file():
        return {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            result = Result.model_validate_json(line)
        except ValidationError as error:
            raise UserError(f"{path}:{number}: not a result: {error.errors()[0]['msg']}") from None
        found[result.name] = result
    return found


def write_log(folder: Path, results: Iterable[Result]) -> None:
    """Replace the log and the tables made from it."""
    rows = list(results)
    write_atomically(folder / LOG, "".join(row.model_dump_json() + "\n" for row in rows).encode())
    write_atomically(folder / "experiments.md", as_markdown(rows).encode())
    write_atomically(folder / "experiments.csv", as_csv(rows).encode())


COLUMNS: Final[Mapping[str, str]] = {
    "name": "experiment",
    "changes": "changes",
    "status": "status",
    "eval_loss": "eval loss",
    "present_accuracy": "accuracy of fields that are there",
    "field_accuracy": "accuracy of all fields",
    "teds": "TEDS",
    "hours": "hours",
    "peak_memory_gib": "peak memory, GiB",
    "spikes": "spikes",
    "spread": "spread",
    "failed_step": "failed at step",
    "notes": "notes",
}
"""Columns of the tables, with their headings."""


def as_markdown(rows: Sequence[Result]) -> str:
    """A Markdown table."""
    lines = [" | ".join(COLUMNS.values()), " | ".join("---" for _ in COLUMNS)]
    for row in rows:
        cells = [shown(getattr(row, name)) for name in COLUMNS]
        lines.append(" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells))
    return "".join(f"| {line} |\n" for line in lines)


def as_csv(rows: Sequence[Result]) -> str:
    """A table for spreadsheets, with all digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(["" if (value := getattr(row, name)) is None else value for name in COLUMNS])
    return stream.getvalue()


def shown(value: Any) -> str:
    """A cell; a small number keeps its digits."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.2e}"
    return value if isinstance(value, str) else json.dumps(value)


Criterion = Literal["eval_loss", "field_accuracy", "teds", "stability", "time"]
Key = tuple[float, ...]


def _stability(result: Result) -> Key | None:
    return None if result.spikes is None or result.spread is None else (result.spikes, result.spread)


def _value(name: str, sign: float) -> Callable[[Result], Key | None]:
    def key(result: Result) -> Key | None:
        value = getattr(result, name)
        return None if value is None else (sign * value,)

    return key


CRITERIA: Final[Mapping[Criterion, Callable[[Result], Key | None]]] = {
    "eval_loss": _value("eval_loss", 1),
    "field_accuracy": _value("present_accuracy", -1),
    "teds": _value("teds", -1),
    "stability": _stability,
    "time": _value("hours", 1),
}
"""Each as a key of which the smallest is the best; None where the result has no such value.

Field accuracy is that over the fields which documents have: over all fields, leaving fields out would be rewarded.
"""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A result with its place by each criterion, from 1; equal values share a place. No place without a value."""

    result: Result
    places: Mapping[Criterion, int | None]


def rank(results: Sequence[Result], by: Criterion) -> list[Ranked]:
    """The best by `by` first; ties by the other criteria in their order, then by name.

    What has no value by `by` comes after all that have one, and failed experiments, which are ranked by nothing, last.
    """
    complete = [result for result in results if result.status == "complete"]
    keys = {name: [key for one in complete if (key := of(one)) is not None] for name, of in CRITERIA.items()}

    def place(result: Result, name: Criterion) -> int | None:
        key = CRITERIA[name](result) if result.status == "complete" else None
        return None if key is None else 1 + sum(other < key for other in keys[name])

    ranked = [Ranked(result, {name: place(result, name) for name in CRITERIA}) for result in results]
    order = [by, *(name for name in CRITERIA if name != by)]
    last = len(results) + 1

    def position(one: Ranked) -> tuple[bool, list[int], str]:
        return one.result.status != "complete", [one.places[name] or last for name in order], one.result.name

    return sorted(ranked, key=position)


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
Score = Callable[[Experiment, Place], Mapping[str, Any] | str]
"""The scores of a model (R.json), or why there are none."""


def run_experiments(
    experiments: Sequence[Experiment],
    output: Path,
    *,
    train: Do,
    evaluate: Score,
    own_scores: bool = True,
    retry_failed: bool = False,
    tell: Callable[[str], None] = lambda text: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[Result]:
    """Train and evaluate each experiment whose result is not in the log of `output` yet, and keep the log.

    Args:
        train: trains into `Place.run`, going on with what is there.
        evaluate: scores the model of `Place.run`.
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
    there = load_job_file(place.config, expected="paddleocr-vl").spec if place.config.is_file() else experiment.job
    begun = not isinstance(there, PaddleOcrVlJob) or parameters(there) != parameters(experiment.job)
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
    values = {"family": "paddleocr-vl", **experiment.job.model_dump(mode="json"), "job_name": experiment.name}
    text: str = yaml.safe_dump({key: value for key, value in values.items() if value is not None}, sort_keys=False)
    return text


def _result(
    experiment: Experiment, place: Place, train: Do, evaluate: Score, own_scores: bool, now: Callable[[], datetime]
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
        scored = evaluate(experiment, place)
        if isinstance(scored, str):
            notes.append(f"not scored: {scored[:_REASON]}")
        else:
            values |= from_scores(scored)
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


def _record(place: Place) -> AnyRecord | None:
    try:
        return load_record(place.run / RUN_FILE)
    except (OSError, ValidationError):
        return None


def _remarks(record: AnyRecord | None) -> list[str]:
    """What a table of final values would hide."""
    if not isinstance(record, PaddleOcrVlRecord):
        return []
    found, remarks = record.vl, []
    if found.left_out:
        remarks.append(f"{len(found.left_out)} documents were too long")
    if found.best and found.evaluations[-1].step != found.best.step:
        remarks.append(f"best at step {found.best.step} of {found.evaluations[-1].step}")
    return remarks
