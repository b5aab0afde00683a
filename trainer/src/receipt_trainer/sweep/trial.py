"""A trial: one choice of values, trained once for each seed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import Any, Final, Literal

from receipt_trainer.jobs.model import OWNED, TERMINAL

State = Literal["PLANNED", "QUEUED", "PRUNING", "COMPLETE", "PRUNED", "FAILED", "CANCELLED", "HELD"]
"""PLANNED: stored, its jobs may not be; QUEUED: its jobs are; PRUNING: they are being cancelled; HELD: a complete run
cannot be delivered, and no worker tries again until somebody asks for it."""

ENDED: Final[frozenset[State]] = frozenset({"COMPLETE", "PRUNED", "FAILED", "CANCELLED", "HELD"})
"""The sweep does not wait for these."""
SETTLED: Final[frozenset[State]] = frozenset({"COMPLETE", "PRUNED"})
"""A FAILED, CANCELLED or HELD trial may come back: its job may be tried again."""


@dataclass(frozen=True, slots=True)
class SeedRun:
    """The job that trains a trial with one seed, as it was last seen.

    Attributes:
        score: the sweep's objective for the kept model, on the validation receipts.
        usd: dollars of its attempts whose price is known; None if none is.
        num_unknown: attempts without a price.
        curve: the objective at each evaluation.
        per_label: F1 of each label; None where the run's record could not be read.
        per_region: field accuracy of each region of a document; None where the record has none.
        measures: what else a run of the second family measured (`collect.measures_of`).
        delivery: of a complete run that is not delivered, what its job's row says of that.
    """

    seed: int
    job_id: str
    status: str = "PENDING"
    score: float | None = None
    reason: str | None = None
    seconds: float = 0.0
    usd: float | None = None
    num_unknown: int = 0
    curve: tuple[float, ...] = ()
    per_label: Mapping[str, float] | None = None
    per_region: Mapping[str, float] | None = None
    measures: Mapping[str, float | None] | None = None
    delivery: Mapping[str, Any] | None = None

    @property
    def is_held(self) -> bool:
        """Whether its complete run is delivered only on request."""
        return self.delivery is not None and bool(self.delivery.get("held_reason"))

    @property
    def is_over(self) -> bool:
        """Whether its job has ended."""
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True)
class Trial:
    """One choice of a sweep.

    Attributes:
        params: a value for each axis.
        same_as: an earlier trial with the same values, whose jobs these are.
        version: counts what was stored of it; every change is conditional on it.
    """

    sweep: str
    number: int
    params: Mapping[str, Any]
    runs: tuple[SeedRun, ...] = ()
    state: State = "PLANNED"
    reason: str | None = None
    same_as: int | None = None
    version: int = 1

    @property
    def scores(self) -> tuple[float, ...]:
        """Of the seeds that have one."""
        return tuple(run.score for run in self.runs if run.score is not None and math.isfinite(run.score))

    @property
    def value(self) -> float | None:
        """Mean score of a complete trial; None if a seed has none."""
        is_whole = self.state == "COMPLETE" and self.runs and len(self.scores) == len(self.runs)
        return fmean(self.scores) if is_whole else None

    @property
    def curve(self) -> tuple[float, ...]:
        """Mean score of each evaluation that all seeds have reached."""
        return tuple(fmean(values) for values in zip(*(run.curve for run in self.runs), strict=False))

    @property
    def score(self) -> float | None:
        """Mean over the seeds that have one."""
        return fmean(self.scores) if self.scores else None

    @property
    def score_sd(self) -> float | None:
        """Standard deviation over these seeds; None of fewer than two."""
        return stdev(self.scores) if len(self.scores) > 1 else None

    @property
    def last_score(self) -> float | None:
        """Mean score of the last evaluation that all seeds have reached, while the trial is not complete."""
        return self.curve[-1] if self.curve and self.state != "COMPLETE" else None

    @property
    def per_label(self) -> dict[str, float]:
        """Mean F1 of each label over the seeds whose record could be read."""
        return _means([run.per_label for run in self.runs])

    @property
    def per_region(self) -> dict[str, float]:
        """The same for the field accuracy of each region of a document."""
        return _means([run.per_region for run in self.runs])

    @property
    def seconds(self) -> float:
        """Of all attempts of all seeds."""
        return sum(run.seconds for run in self.runs)

    @property
    def usd(self) -> float | None:
        """Dollars of the attempts whose price is known; None if none is."""
        known = [run.usd for run in self.runs if run.usd is not None]
        return sum(known) if known else None

    @property
    def num_unknown(self) -> int:
        """Attempts without a price."""
        return sum(run.num_unknown for run in self.runs)

    @property
    def shown_state(self) -> str:
        """The state, of a queued one whether a worker has a job of it."""
        if self.state != "QUEUED":
            return self.state
        return "RUNNING" if any(run.status in OWNED for run in self.runs) else "WAITING"

    def seen(self, runs: tuple[SeedRun, ...]) -> Trial:
        """The trial with its jobs as they are now, and the state that follows from them."""
        return replace(self, runs=runs, state=_state(self.state, runs))

    def to_plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        plain = asdict(self)
        return {name: value for name, value in plain.items() if value is not None and name != "sweep"}

    @classmethod
    def from_plain(cls, sweep: str, plain: Mapping[str, Any]) -> Trial:
        """Read what `to_plain` made; what a newer version added is left out."""
        known = {name: value for name, value in plain.items() if name in cls.__slots__}
        return cls(**{**known, "sweep": sweep, "runs": tuple(_run(values) for values in plain["runs"])})

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Trial:
        """Read a TRIAL row of version 0.1.0."""
        parsed = {"params": json.loads(row["params"]), "runs": json.loads(row["runs"])}
        return cls.from_plain(str(row["sweep"]), {**row, "number": row["trial"], **parsed})


_RUN_FIELDS: Final = frozenset(SeedRun.__slots__)


def _run(values: Mapping[str, Any]) -> SeedRun:
    known = {name: value for name, value in values.items() if name in _RUN_FIELDS}
    return SeedRun(**{**known, "curve": tuple(known.get("curve") or ())})


def _means(found: Sequence[Mapping[str, float] | None]) -> dict[str, float]:
    """The mean of each part that all seeds with a record have."""
    records = [record for record in found if record is not None]
    parts = [part for part in (records[0] if records else {}) if all(part in record for record in records)]
    return {part: fmean(record[part] for record in records) for part in parts}


def _state(before: State, runs: Sequence[SeedRun]) -> State:
    statuses = [run.status for run in runs]
    if before in SETTLED or before == "PLANNED" or not statuses:
        return before
    if any(not run.is_over and not run.is_held for run in runs):
        return "PRUNING" if before == "PRUNING" else "QUEUED"
    if any(run.is_held for run in runs) and "FAILED" not in statuses:
        return "PRUNING" if before == "PRUNING" else "HELD"
    if all(status == "SUCCEEDED" for status in statuses):  # a pruned job may have been faster than its cancellation
        return "COMPLETE"
    if before == "PRUNING":
        return "PRUNED"
    return "FAILED" if "FAILED" in statuses else "CANCELLED"


def shared(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with jobs and state of the earlier ones that they are the same as."""
    known = {trial.number: trial for trial in trials if trial.same_as is None}
    linked = []
    for trial in trials:
        first = known.get(trial.same_as) if trial.same_as is not None else None
        linked.append(replace(trial, runs=first.runs, state=first.state, reason=first.reason) if first else trial)
    return linked
