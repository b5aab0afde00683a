"""A sweep's trials side by side: their score with its spread over seeds, per label, time and dollars, best first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from receipt_trainer.jobs.model import OWNED
from receipt_trainer.sweep import plan
from receipt_trainer.sweep.definition import Definition
from receipt_trainer.sweep.objective import Objective
from receipt_trainer.sweep.significance import Scores, Verdict, judge
from receipt_trainer.sweep.trial import ENDED, Trial


@dataclass(frozen=True, slots=True)
class Result:
    """One trial, summed up.

    Attributes:
        state: the trial's, or RUNNING or WAITING while its jobs are.
        score: mean over the seeds that have one.
        score_sd: standard deviation over these seeds; None of fewer than two.
        last_score: mean score of the last evaluation that all seeds have reached, while the trial is not complete.
        per_label: mean F1 of each label over the seeds whose record could be read.
        per_region: the same for the field accuracy of each region.
        seconds: of all attempts of all seeds.
        usd: dollars of the attempts whose price is known; None if none is.
        num_unknown: attempts without a price.
    """

    trial: Trial
    state: str
    score: float | None
    score_sd: float | None
    last_score: float | None
    per_label: dict[str, float]
    per_region: dict[str, float]
    seconds: float
    usd: float | None
    num_unknown: int


def result_of(trial: Trial) -> Result:
    """Sum up a trial."""
    scores, known = trial.scores, [run.usd for run in trial.runs if run.usd is not None]
    return Result(
        trial,
        _state(trial),
        fmean(scores) if scores else None,
        stdev(scores) if len(scores) > 1 else None,
        trial.curve[-1] if trial.curve and trial.state != "COMPLETE" else None,
        _means([run.per_label for run in trial.runs]),
        _means([run.per_region for run in trial.runs]),
        sum(run.seconds for run in trial.runs),
        sum(known) if known else None,
        sum(run.num_unknown for run in trial.runs),
    )


def _means(found: Sequence[Mapping[str, float] | None]) -> dict[str, float]:
    """The mean of each part that all seeds with a record have."""
    records = [record for record in found if record is not None]
    parts = [part for part in (records[0] if records else {}) if all(part in record for record in records)]
    return {part: fmean(record[part] for record in records) for part in parts}


def _state(trial: Trial) -> str:
    if trial.state != "QUEUED":
        return trial.state
    return "RUNNING" if any(run.status in OWNED for run in trial.runs) else "WAITING"


def ranked(trials: Sequence[Trial], objective: Objective) -> list[Result]:
    """The trials with the best complete one first; one that is the same as an earlier one is left out."""
    found = [result_of(trial) for trial in trials if trial.same_as is None]
    return sorted(found, key=lambda result: (*_order(result, objective), result.trial.number))


def _order(result: Result, objective: Objective) -> tuple[int, float]:
    if result.trial.value is not None:
        return 0, objective.cost(result.trial.value)
    is_open = result.trial.state not in ENDED
    last = result.last_score
    return (1 if is_open else 2), math.inf if last is None else objective.cost(last)


def verdict_of(definition: Definition, trials: Sequence[Trial]) -> Verdict:
    """Compare the complete trials."""
    own = [trial for trial in trials if trial.same_as is None]
    base = plan.base_params(definition)
    same = next((trial.number for trial in own if trial.params == base), None)
    finished = [Scores(trial.number, trial.scores) for trial in own if trial.value is not None]
    return judge(finished, same, objective=definition.goal)
