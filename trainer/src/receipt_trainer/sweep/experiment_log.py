"""Experiments trained here one after the other: a line in a log for each, the same as tables, ranked.

What is done is not done again, and what fails does not stop the rest. Of experiments that workers train the log has
the ids of their jobs.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from receipt_trainer.config.job_file import PaddleOcrVlJob, load_job_file
from receipt_trainer.contract.names import RUN_FILE
from receipt_trainer.contract.run_record import AnyRecord, PaddleOcrVlRecord, load_record
from receipt_trainer.errors import UserError
from receipt_trainer.files import write_atomically
from receipt_trainer.sweep.collect import Observer, measures_of
from receipt_trainer.sweep.definition import OBJECTIVES
from receipt_trainer.sweep.experiments import Experiment, parameters
from receipt_trainer.sweep.ranking import Key, Scores, Significance, best_first, judge
from receipt_trainer.sweep.trial import SeedRun, Trial

LOG: Final = "experiments.jsonl"
CONFIG: Final = "config.yaml"
RUN: Final = "run"
SCORES: Final = "scores.json"
"""What an experiment leaves in its folder: the configuration that it ran with, its run, the scores of its model."""
_REASON: Final = 300
"""Characters of a failure's reason in the log."""
_OTHER_SEEDS: Final = (
    "Run the best, and what it is compared with, with other values of training_config.seed too: files that "
    "also change it, and --allow-several."
)
_STEP: Final = re.compile(r"\bstep (\d+): the (?:loss|gradient|validation loss)")


class Outcome(BaseModel):
    """Result of an experiment: a line of the log. None: not known; the measures are those of `measures_of`."""

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


def step_of(reason: str) -> int | None:
    """The step at which the loss or its gradient became no number, if that was the reason."""
    found = _STEP.search(reason)
    return int(found[1]) if found else None


def read_log(folder: Path) -> dict[str, Outcome]:
    """Outcomes by name; none if there is no log yet. UserError: a line is no outcome."""
    path, found = folder / LOG, {}
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                outcome = Outcome.model_validate_json(line)
            except ValidationError as error:
                raise UserError(f"{path}:{number}: not a result: {error.errors()[0]['msg']}") from None
            found[outcome.name] = outcome
    return found


def write_log(folder: Path, outcomes: Iterable[Outcome]) -> None:
    """Replace the log and the tables made from it: one in Markdown, one for spreadsheets, with all digits."""
    rows, stream = list(outcomes), io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(["" if (value := getattr(row, name)) is None else value for name in COLUMNS])
    write_atomically(folder / LOG, "".join(row.model_dump_json() + "\n" for row in rows).encode())
    write_atomically(folder / "experiments.md", as_markdown(rows).encode())
    write_atomically(folder / "experiments.csv", stream.getvalue().encode())


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


def as_markdown(rows: Sequence[Outcome]) -> str:
    """A Markdown table."""
    lines = [" | ".join(COLUMNS.values()), " | ".join("---" for _ in COLUMNS)]
    for row in rows:
        cells = [_shown(getattr(row, name)) for name in COLUMNS]
        lines.append(" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells))
    return "".join(f"| {line} |\n" for line in lines)


def _shown(value: Any) -> str:
    """A cell; a small number keeps its digits."""
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.2e}"
    return "" if value is None else str(value)


Criterion = Literal["eval_loss", "field_accuracy", "teds", "stability", "time"]
_COSTS: Final[Mapping[Criterion, tuple[tuple[str, int], ...]]] = {
    "eval_loss": (("eval_loss", 1),),
    "field_accuracy": (("present_accuracy", -1),),
    "teds": (("teds", -1),),
    "stability": (("spikes", 1), ("spread", 1)),
    "time": (("hours", 1),),
}
"""The measures of each criterion; -1: the highest is the best.

Field accuracy is that over the fields which documents have: over all fields, leaving fields out would be rewarded.
"""


def _key(criterion: Criterion) -> Callable[[Outcome], Key | None]:
    def key(outcome: Outcome) -> Key | None:
        values = [(getattr(outcome, name), sign) for name, sign in _COSTS[criterion]]
        if outcome.status != "complete" or any(value is None for value, _ in values):
            return None
        return tuple(sign * value for value, sign in values)

    return key


def ranked(outcomes: Sequence[Outcome], by: Criterion) -> list[Outcome]:
    """The best by `by` first; ties by the other criteria in their order, then by name.

    What has no value by `by` comes after all that have one, and failed experiments, which are ranked by nothing, last.
    """
    criteria = [by, *(name for name in _COSTS if name != by)]
    named = sorted(outcomes, key=lambda outcome: outcome.name)
    return best_first(named, lambda outcome: (outcome.status != "complete",), *map(_key, criteria))


def places(outcomes: Sequence[Outcome], criterion: Criterion) -> list[int | None]:
    """The place of each by a criterion, from 1; equal values share a place. No place without a value."""
    keys = [_key(criterion)(outcome) for outcome in outcomes]
    return [None if key is None else 1 + sum(one is not None and one < key for one in keys) for key in keys]


def verdict_of(outcomes: Sequence[Outcome], by: Criterion) -> Significance | None:
    """Whether the best is better than the noise of its seeds; None where `by` is no score.

    Experiments that differ in `training.seed` alone are one configuration, trained with several seeds.
    """
    objective = next((one for one in OBJECTIVES.values() if one.name == by), None)
    if objective is None:
        return None
    ((measure, _),) = _COSTS[by]
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if _key(by)(outcome) is not None:
            found.setdefault(_without_seed(outcome.changes), []).append(outcome)
    scores = [
        Scores(number, tuple(getattr(one, measure) for one in same), name=same[0].name)
        for number, same in enumerate(found.values())
    ]
    base = next((number for number, changes in enumerate(found) if not changes), None)
    return judge(scores, base, objective=objective, advice=_OTHER_SEEDS)


def _without_seed(changes: str) -> str:
    """The changes of an experiment beside its seed; "" if there are none, as of the base."""
    parts = (part for part in changes.split("; ") if not part.startswith(("training.seed: ", "nothing: ")))
    return "; ".join(parts)


def refreshed(outcomes: Sequence[Outcome], observer: Observer) -> list[Outcome]:
    """Outcomes of queued experiments as their jobs are now.

    Field accuracy and TEDS are unknown of a job whose `evaluation` is not enabled.
    """
    waiting = [one for one in outcomes if one.status == "submitted" and one.job_id]
    trials = [Trial("", number, {}, (SeedRun(0, one.job_id or ""),), "QUEUED") for number, one in enumerate(waiting)]
    runs = {one.name: trial.runs[0] for one, trial in zip(waiting, observer.look(trials), strict=True)}
    return [_as_seen(one, runs[one.name]) if one.name in runs else one for one in outcomes]


def _as_seen(outcome: Outcome, run: SeedRun) -> Outcome:
    if not run.is_over:
        return outcome.model_copy(update={"notes": f"job is {run.status}"})
    reason = run.reason or "" if run.status != "SUCCEEDED" else ""
    values: dict[str, Any] = {"status": "complete" if run.status == "SUCCEEDED" else "failed"}
    values |= {"notes": reason[:_REASON], "failed_step": step_of(reason)}
    return outcome.model_copy(update=values | dict(run.measures or {}))


def settle_changes(experiments: Sequence[Experiment], known: dict[str, Outcome], output: Path) -> None:
    """Refuse to mix two configurations under one name: a UserError if what ran there was another one.

    What failed before anything was kept of it, and was changed since, is forgotten: it is run anew.
    """
    corrected = []
    for experiment in experiments:
        place, outcome = output / experiment.name, known.get(experiment.name)
        there = (
            load_job_file(place / CONFIG, expected="paddleocr-vl").spec
            if (place / CONFIG).is_file()
            else experiment.job
        )
        is_other = not isinstance(there, PaddleOcrVlJob) or parameters(there) != parameters(experiment.job)
        if is_other or (outcome is not None and outcome.digest != experiment.digest):
            if outcome is None or not failed_early(outcome, place):
                raise UserError(
                    f"{experiment.file} was changed after {experiment.name} ran: give it another name, or remove "
                    f"{place} and its line in the log"
                )
            corrected.append(experiment.name)
    for name in corrected:
        del known[name]
        if (output / name).is_dir():
            shutil.rmtree(output / name)


def failed_early(outcome: Outcome, place: Path) -> bool:
    """Whether an experiment failed here without a loss or a checkpoint: for its configuration, as a rule."""
    measured = (outcome.job_id, outcome.failed_step, outcome.eval_loss)
    return outcome.status == "failed" and measured == (None,) * 3 and not any((place / RUN).glob("checkpoint-*"))


@dataclass(frozen=True, slots=True)
class LocalRunner:
    """Trains and scores experiments on this machine.

    Attributes:
        output: has the log, and a folder for each experiment.
        train: trains into `RUN` in the given folder, continuing what is there; None, or why it failed.
        evaluate: the scores of the model of that run, or why there are none.
        own_scores: where a run has scored its model itself, take these scores instead.
        retry_failed: do experiments again that failed before, from their last checkpoint.
    """

    output: Path
    train: Callable[[Experiment, Path], str | None]
    evaluate: Callable[[Experiment, Path], Mapping[str, Any] | str]
    own_scores: bool = True
    retry_failed: bool = False
    tell: Callable[[str], None] = lambda text: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run(self, experiments: Sequence[Experiment]) -> list[Outcome]:
        """Train and evaluate each experiment whose outcome is not in the log yet, and keep the log.

        A base that fails early ends it: the others, which differ in one value, would fail as it did.
        """
        known = read_log(self.output)
        settle_changes(experiments, known, self.output)
        for number, experiment in enumerate(experiments, start=1):
            before, at = known.get(experiment.name), f"{number} of {len(experiments)}: {experiment.name}"
            if before is not None and (before.status == "complete" or not self.retry_failed):
                self.tell(f"{at} is {before.status}")
            else:
                self.tell(f"{at}: {experiment.said}")
                known[experiment.name] = self._outcome(experiment, self.output / experiment.name)
                write_log(self.output, _in_order(known, experiments))
            outcome = known[experiment.name]
            if number == 1 and failed_early(outcome, self.output / experiment.name):
                self.tell(f"the base failed, so that nothing else is run: {outcome.notes}")
                break
        return list(_in_order(known, experiments))

    def _outcome(self, experiment: Experiment, place: Path) -> Outcome:
        written = {"family": "paddleocr-vl", **experiment.job.model_dump(mode="json"), "job_name": experiment.name}
        kept = {key: value for key, value in written.items() if value is not None}
        write_atomically(place / CONFIG, yaml.safe_dump(kept, sort_keys=False).encode())
        record, failure = _record(place), None
        if record is None or record.status != "complete":
            failure = self.train(experiment, place)
            record = _record(place)
        values: dict[str, Any] = dict(measures_of(record)) if isinstance(record, PaddleOcrVlRecord) else {}
        if not self.own_scores:
            values |= {"field_accuracy": None, "present_accuracy": None, "teds": None}
        notes = []
        if failure is not None:
            notes.append(failure[:_REASON])
        elif values.get("present_accuracy") is None:
            scored = self.evaluate(experiment, place)
            if isinstance(scored, str):
                notes.append(f"not scored: {scored[:_REASON]}")
            else:
                theirs = {"field_accuracy": "fields", "present_accuracy": "presents", "teds": "teds"}
                values |= {ours: scored["scores"][name]["value"] for ours, name in theirs.items()}
        return Outcome(
            name=experiment.name,
            digest=experiment.digest,
            changes=experiment.said,
            status="complete" if failure is None else "failed",
            failed_step=step_of(failure or ""),
            notes="; ".join(notes + _remarks(record)),
            finished_at=self.now().isoformat(timespec="seconds"),
            **values,
        )


def _in_order(outcomes: Mapping[str, Outcome], experiments: Sequence[Experiment]) -> Iterator[Outcome]:
    """Outcomes in the order of the experiments, then those of files that are gone."""
    first = [experiment.name for experiment in experiments]
    yield from (outcomes[name] for name in first if name in outcomes)
    yield from (outcome for name, outcome in outcomes.items() if name not in first)


def _record(place: Path) -> AnyRecord | None:
    try:
        return load_record(place / RUN / RUN_FILE)
    except (OSError, ValidationError):
        return None


def _remarks(record: AnyRecord | None) -> list[str]:
    """Notes on what a table of final values would hide."""
    if not isinstance(record, PaddleOcrVlRecord):
        return []
    found, remarks = record.vl, []
    if found.left_out:
        remarks.append(f"{len(found.left_out)} documents were too long")
    if found.best and found.evaluations[-1].step != found.best.step:
        remarks.append(f"best at step {found.best.step} of {found.evaluations[-1].step}")
    return remarks
