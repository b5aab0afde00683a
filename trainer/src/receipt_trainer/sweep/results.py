"""A sweep's trials side by side: F1 with its spread over seeds, per label, time and dollars, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from receipt_trainer.jobs.lifecycle import OWNED
from receipt_trainer.sweep import plan
from receipt_trainer.sweep.definition import Definition
from receipt_trainer.sweep.trial import ENDED, Trial
from receipt_trainer.sweep.verdict import Scores, Verdict, judge


@dataclass(frozen=True, slots=True)
class Result:
    """One trial, summed up.

    Attributes:
        state: the trial's, or RUNNING or WAITING while its jobs are.
        f1: mean over the seeds that have one.
        f1_sd: standard deviation over these seeds; None of fewer than two.
        last_f1: mean F1 of the last evaluation that all seeds have reached, while the trial is not complete.
        per_label: mean F1 of each label over the seeds whose record could be read.
        seconds: of all attempts of all seeds.
        usd: dollars of the attempts whose price is known; None if none is.
        num_unknown: attempts without a price.
    """

    trial: Trial
    state: str
    f1: float | None
    f1_sd: float | None
    last_f1: float | None
    per_label: dict[str, float]
    seconds: float
    usd: float | None
    num_unknown: int


def result_of(trial: Trial) -> Result:
    """Sum up a trial."""
    f1s, known = trial.f1s, [run.usd for run in trial.runs if run.usd is not None]
    records = [run.per_label for run in trial.runs if run.per_label is not None]
    labels = [label for label in (records[0] if records else {}) if all(label in record for record in records)]
    return Result(
        trial,
        _state(trial),
        fmean(f1s) if f1s else None,
        stdev(f1s) if len(f1s) > 1 else None,
        trial.curve[-1] if trial.curve and trial.state != "COMPLETE" else None,
        {label: fmean(record[label] for record in records) for label in labels},
        sum(run.seconds for run in trial.runs),
        sum(known) if known else None,
        sum(run.num_unknown for run in trial.runs),
    )


def _state(trial: Trial) -> str:
    if trial.state != "QUEUED":
        return trial.state
    return "RUNNING" if any(run.status in OWNED for run in trial.runs) else "WAITING"


def ranked(trials: Sequence[Trial]) -> list[Result]:
    """The trials with the best complete one first; one that is the same as an earlier one is left out."""
    found = [result_of(trial) for trial in trials if trial.same_as is None]
    return sorted(found, key=lambda result: (*_order(result), result.trial.number))


def _order(result: Result) -> tuple[int, float]:
    if result.trial.value is not None:
        return 0, -result.trial.value
    is_open = result.trial.state not in ENDED
    return (1 if is_open else 2), -(result.last_f1 or 0.0)


def verdict_of(definition: Definition, trials: Sequence[Trial]) -> Verdict:
    """Compare the complete trials."""
    own = [trial for trial in trials if trial.same_as is None]
    base = plan.base_params(definition)
    same = next((trial.number for trial in own if trial.params == base), None)
    return judge([Scores(trial.number, trial.f1s) for trial in own if trial.value is not None], same)
