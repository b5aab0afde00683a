"""Results of a sweep's jobs: state, score, curve, time, dollars, scores of the parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.clients import aws_faults, error_code
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract import tables
from receipt_trainer.contract.job_row import presentable
from receipt_trainer.contract.names import RUN_FILE
from receipt_trainer.contract.run_record import AnswerScores, AnyRecord, LayoutLMRecord, PaddleOcrVlRecord, read_record
from receipt_trainer.contract.tables import JOB_SK, job_pk
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs import state_machine, views
from receipt_trainer.jobs.curves import curves
from receipt_trainer.jobs.model import OWNED, TERMINAL
from receipt_trainer.jobs.rows import METRICS, rows_of
from receipt_trainer.sweep.definition import Objective
from receipt_trainer.sweep.trial import SETTLED, SeedRun, Trial, shared

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_READ: Final = (
    *("PK", "job_id", "name", "status", "attempt", "f1", "artifacts", "reason", "lease_expires_at"),
    *state_machine.ATTRIBUTES,
)
SPIKE: Final = 1.1
"""An evaluation whose loss is above so many times the lowest one before it is a spike."""
LAST: Final = 5
"""Evaluations at the end of a run over which its loss's deviation is taken."""


class Observer:
    """Reads jobs; of one that has ended each thing is read once. Methods raise as `aws_faults`."""

    def __init__(
        self,
        table: Table,
        s3: Callable[[], S3Client],
        objective: Objective,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._table, self._s3, self._clock = table, s3, clock
        self._objective = objective
        self._over: dict[tuple[str, str, int], SeedRun] = {}
        self.complaint: str | None = None

    def look(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials as their jobs are now; a settled one stays as it is stored."""
        open_ = [trial for trial in trials if trial.state not in SETTLED and trial.same_as is None]
        keys = [{"PK": job_pk(run.job_id), "SK": JOB_SK} for trial in open_ for run in trial.runs]
        found = dynamo.batch_get(*self._table, "read the sweep's jobs", keys, _READ)
        rows = {str(row["job_id"]): row for row in map(presentable, found)}
        known = {trial.number: trial.seen(tuple(self._run(trial, run, rows) for run in trial.runs)) for trial in open_}
        return shared([known.get(trial.number, trial) for trial in trials])

    def _run(self, trial: Trial, run: SeedRun, rows: Mapping[str, Mapping[str, Any]]) -> SeedRun:
        row = rows.get(run.job_id)
        if row is None:
            is_due = trial.state != "PLANNED"
            return replace(run, status="FAILED", reason="its job is no longer in the table") if is_due else run
        status, attempt = str(row["status"]), int(row.get("attempt") or 0)
        if attempt == 0:
            return replace(run, status=status, reason=row.get("reason"))
        key = (run.job_id, status, attempt)
        if key not in self._over:
            seen = self._read(run, status, row)
            if status not in TERMINAL:
                return seen
            self._over[key] = seen
        return self._over[key]

    def _read(self, run: SeedRun, status: str, row: Mapping[str, Any]) -> SeedRun:
        spent = views.read_spent(self._table, [row], self._clock())[run.job_id]
        record = self._record(row.get("artifacts")) if status == "SUCCEEDED" else None
        metric = self._objective.metric
        points = curves(rows_of(self._table, run.job_id, f"{METRICS}{metric}#")).get(metric, [])
        curve = tuple(point.value for point in points if math.isfinite(point.value))
        return SeedRun(
            run.seed,
            run.job_id,
            status=status,
            score=self._score(row, curve, record) if status == "SUCCEEDED" else None,
            reason=row.get("reason"),
            seconds=spent.seconds,
            usd=spent.usd,
            num_unknown=spent.num_unknown,
            curve=curve,
            per_label=_labels(record),
            per_region=None if record is None else _regions(record),
            measures=measures_of(record) if isinstance(record, PaddleOcrVlRecord) else None,
            delivery=None if status in OWNED else _undelivered(row),
        )

    def _score(self, row: Mapping[str, Any], curve: Sequence[float], record: AnyRecord | None) -> float | None:
        """Of a run that has succeeded: what its job's row, its metrics or its record say."""
        if self._objective.name == "f1":
            return _number(row.get("f1"))
        if self._objective.is_curve:
            return self._objective.best(curve) if curve else None
        own = None if record is None else _number(getattr(_scores(record), self._objective.name, None))
        score = curve[-1] if own is None and curve else own
        if score is None:
            self.complaint = f"job {row['job_id']} has succeeded and has left no {self._objective.name}"
        return score

    def _record(self, artifacts: object) -> AnyRecord | None:
        """The run's record in S3; a laptop that may not read it sees everything else all the same."""
        if not isinstance(artifacts, str) or not artifacts.startswith("s3://"):
            return None
        bucket, _, prefix = artifacts.removeprefix("s3://").partition("/")
        try:
            with aws_faults(f"read {artifacts}/{RUN_FILE}"):
                text = self._s3().get_object(Bucket=bucket, Key=f"{prefix}/{RUN_FILE}")["Body"].read()
            return read_record(text)
        except (UserError, WorldError, ValidationError) as error:
            if error_code(error.__cause__) != "NoSuchKey":
                self.complaint = " ".join(str(error).split())
            return None


def _undelivered(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if not row.get("waits_for") and not state_machine.is_held(row):
        return None
    return {name: row.get(name) for name in state_machine.ATTRIBUTES}


def _scores(record: AnyRecord) -> AnswerScores | None:
    return record.vl.scores if isinstance(record, PaddleOcrVlRecord) else None


def _labels(record: AnyRecord | None) -> dict[str, float] | None:
    """F1 by label; None where there is no record. A record of the second family has no labels."""
    if record is None:
        return None
    per_label = record.per_label if isinstance(record, LayoutLMRecord) else {}
    return {label: score.f1 for label, score in per_label.items()}


def _regions(record: AnyRecord) -> dict[str, float] | None:
    scores = _scores(record)
    known = {name: _number(value) for name, value in scores.regions.items()} if scores is not None else {}
    return {name: value for name, value in known.items() if value is not None} or None


def _number(value: object) -> float | None:
    """A finite number, or that of a share, which is written as {"value": ...}."""
    number = tables.to_float(value.get("value") if isinstance(value, dict) else value)
    return number if number is not None and math.isfinite(number) else None


def measures_of(record: PaddleOcrVlRecord) -> dict[str, float | None]:
    """Measurements of a run of the second family. None: not known.

    `present_accuracy` is the field accuracy over the fields that documents have, `field_accuracy` that over all: an
    empty object is right there wherever the truth is null. `spread` and `spikes` are those of `stability`.
    """
    found, scores = record.vl, record.vl.scores or AnswerScores()
    losses = [row.eval_loss for row in found.evaluations if row.eval_loss is not None and math.isfinite(row.eval_loss)]
    spread, spikes = stability(losses)
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


def stability(losses: Sequence[float]) -> tuple[float | None, int | None]:
    """Spread and spikes of a run's evaluation losses; unknown with fewer than two.

    Spread is the standard deviation of the last `LAST` over their mean; spikes are the evaluations above `SPIKE` times
    the lowest loss before them.
    """
    if len(losses) < 2:
        return None, None
    last = losses[-LAST:]
    mean = fmean(last)
    spikes = sum(loss > SPIKE * min(losses[:at]) for at, loss in enumerate(losses) if at)
    return (pstdev(last) / mean if mean else 0.0), spikes
