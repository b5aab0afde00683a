"""A job's metrics, log lines and checkpoints, written to the jobs table in the background as training goes."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

import structlog

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.artifacts import S3Artifacts, run_prefix
from receipt_trainer.aws.dynamo import Item, Sleep, Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract.env import WorkerEnv
from receipt_trainer.contract.job_row import State
from receipt_trainer.contract.names import DEFAULT_ROWS_DAYS
from receipt_trainer.contract.sinks import ArtifactSink, MetricsSink, NoMetrics, RunStore, Sealed
from receipt_trainer.contract.tables import EXPIRES_AT, checkpoint_sk, iso, job_pk, log_sk, metric_sk
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.curves import ORDER
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.rows import CHECKPOINTS, METRICS, rows_of

FLUSH_INTERVAL_S: Final = 1.0
MAX_PENDING: Final = 50_000
"""Rows kept while the table cannot be written; beyond it the oldest are given up, and `close` says how many."""
CLOSE_ATTEMPTS: Final = 3
MAX_MESSAGE: Final = 10_000
"""Characters of a log line that are kept; an item ends at 400 kB."""
_GONE: Final = "gone"
"""Marks a pending row as one to delete."""

_log = structlog.get_logger(__name__)


class RowsLeftError(WorldError):
    """Rows of a job that `close` could not write. Of a complete run, another attempt can write them."""


@dataclass
class JobStore(MetricsSink):
    """The contract's `MetricsSink`: calls return at once, a thread writes.

    Rows that cannot be written are kept and tried again at the next flush; training never waits and never fails for
    them. `close` writes the rest.

    Attributes:
        attempt: number of the worker's claim, kept in every row; None for a run without a worker.
        interval_s: between two flushes.
        max_pending: rows kept at most while writing fails.
        first_seq: number of the first row; two stores of one job begin far from each other.
        keep_days: after so many days DynamoDB deletes the rows.
        may_write: asked before each batch; while it says no, rows are forgotten, not kept.
        history: what earlier attempts logged up to the checkpoint from which this one resumes; what the table has
            not of it is written first.
        sealed: all checkpoints that are in the run's folder now; the table's rows are made to say the same first.
            None: the rows are left as they are.
    """

    table: Table
    job_id: str
    attempt: int | None = None
    interval_s: float = FLUSH_INTERVAL_S
    max_pending: int = MAX_PENDING
    first_seq: int = 0
    keep_days: int = DEFAULT_ROWS_DAYS
    may_write: Callable[[], bool] = lambda: True
    history: Sequence[Mapping[str, Any]] = ()
    sealed: Sequence[Sealed] | None = None
    clock: Callable[[], datetime] = utc_now
    sleep: Sleep = time.sleep

    def __post_init__(self) -> None:
        self._common: Item = {"PK": job_pk(self.job_id), "job_id": self.job_id}
        if self.attempt is not None:
            self._common["attempt"] = self.attempt
        self._pending: deque[Item] = deque()
        self._num_lost, self._seq = 0, count(self.first_seq)
        self._lock = threading.Lock()  # of _pending and _num_lost
        self._flushing = threading.Lock()  # one flush at a time
        self._closed = threading.Event()
        self._complained = False
        self._thread = threading.Thread(target=self._run, name="job-store", daemon=True)
        self._thread.start()

    def metric(self, name: str, value: float, *, step: int, epoch: float) -> None:
        """Record one value of one metric."""
        self._add(self._metric_row(name, value, step, epoch))

    def _metric_row(self, name: str, value: float, step: int, epoch: float) -> Item:
        stamp, seq = iso(self.clock()), next(self._seq)
        row = {"TYPE": "JOB_METRIC", "name": name, "value": float(value), "step": int(step), "epoch": float(epoch)}
        return {"SK": metric_sk(name, stamp, seq), "timestamp": stamp, "seq": seq, **row}

    def log(self, level: str, message: str) -> None:
        """Record one line of the log, cut to `MAX_MESSAGE` characters."""
        stamp, seq = iso(self.clock()), next(self._seq)
        # A lone surrogate (a broken file name) is no text for DynamoDB, and must not spoil the batch it is in.
        text = message[:MAX_MESSAGE].encode("utf-8", "replace").decode()
        row = {"TYPE": "JOB_LOG", "level": level, "message": text}
        self._add({"SK": log_sk(stamp, seq), "timestamp": stamp, "seq": seq, **row})

    def checkpoint(self, step: int, *, epoch: float, path: Path, size_bytes: int) -> None:
        """Record a complete checkpoint, over an earlier one of the same step."""
        self._add(self._checkpoint_row(Sealed(int(step), float(epoch), path, size_bytes)))

    def _checkpoint_row(self, one: Sealed) -> Item:
        row = {"TYPE": "JOB_CHECKPOINT", "step": one.step, "epoch": one.epoch, "path": str(one.path)}
        return {"SK": checkpoint_sk(one.step), **row, "size_bytes": one.size_bytes, "at": iso(self.clock())}

    def checkpoint_gone(self, step: int) -> None:
        """Delete a checkpoint's row: only listed checkpoints can be resumed from."""
        self._add(_gone_row(step))

    def _add(self, row: Item) -> None:
        with self._lock:
            if self._closed.is_set():
                raise ValueError("the job store is closed")
            if len(self._pending) >= self.max_pending:
                self._pending.popleft()
                self._num_lost += 1
            self._pending.append(self._whole(row))

    def _whole(self, row: Item) -> Item:
        written = row.get("timestamp") or row.get("at")
        if written is None:
            return {**self._common, **row}
        expires = int(datetime.fromisoformat(written).timestamp()) + self.keep_days * 86_400
        return {**self._common, EXPIRES_AT: expires, **row}

    def flush(self) -> None:
        """Write what is pending now; on a fault it stays pending."""
        with self._flushing:
            self._fill_gaps()
            while True:
                with self._lock:
                    rows = [self._pending.popleft() for _ in range(min(dynamo.WRITE_BATCH, len(self._pending)))]
                if not rows:
                    return
                if not self.may_write():
                    continue
                try:
                    self._write(rows)
                except BaseException:
                    with self._lock:
                        self._pending.extendleft(reversed(rows))
                    raise

    def _fill_gaps(self) -> None:
        """Put what earlier attempts left undone before the rows of this one."""
        where = (self.table, self.job_id)
        if self.history and self.may_write():
            self._add_first([self._metric_row(*one) for one in missing(*where, self.history)])
            self.history = ()
        if self.sealed is not None and self.may_write():
            gone, lacking = wrong_checkpoints(*where, self.sealed)
            self._add_first([*map(_gone_row, gone), *map(self._checkpoint_row, lacking)])
            self.sealed = None

    def _add_first(self, rows: list[Item]) -> None:
        with self._lock:
            self._pending.extendleft(self._whole(row) for row in reversed(rows))

    def _write(self, rows: list[Item]) -> None:
        last = {str(row["SK"]): row for row in rows}  # DynamoDB refuses a batch that names a key twice
        puts = [row for row in last.values() if _GONE not in row]
        deletes = [{"PK": str(row["PK"]), "SK": str(row["SK"])} for row in last.values() if _GONE in row]
        dynamo.batch_write(*self.table, "write job rows", puts=puts, deletes=deletes, sleep=self.sleep)

    def _run(self) -> None:
        while not self._closed.wait(self.interval_s):
            self._try_flush()

    def _try_flush(self) -> Exception | None:
        try:
            self.flush()
        except Exception as error:  # any error: training continues, close() reports it
            if not self._complained:
                self._complained = True
                _log.warning("job rows not written yet", job_id=self.job_id, table=self.table.name, error=str(error))
            return error
        if self._complained:
            self._complained = False
            _log.info("job rows are written again", job_id=self.job_id, table=self.table.name)
        return None

    def close(self) -> None:
        """Write what is pending and end the thread; RowsLeftError: how many rows are lost, and why. May be repeated."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
        self._thread.join()
        fault: Exception | None = None
        for attempt in range(CLOSE_ATTEMPTS):
            fault = self._try_flush()
            if fault is None:
                break
            if attempt + 1 < CLOSE_ATTEMPTS:
                self.sleep(self.interval_s)
        if fault is not None:
            num_left = len(self._pending) + self._num_lost
            raise RowsLeftError(f"{num_left} rows of job {self.job_id} not written: {fault}")
        if self._num_lost:
            given_up = f"{self._num_lost} rows of job {self.job_id} given up"
            raise RowsLeftError(f"{given_up}: '{self.table.name}' took none in time")


def _gone_row(step: int) -> Item:
    return {"SK": checkpoint_sk(step), _GONE: True}


NAMES: Final = (*ORDER, "eval_accuracy", "field_accuracy", "teds", "numeric_accuracy", "parse_share")
"""Metrics that runs write; what else a history holds is for the trainer alone."""


def missing(table: Table, job_id: str, history: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float, int, float]]:
    """Name, value, step and epoch of what a checkpoint's `log_history` has and the table has not."""
    rows = rows_of(table, job_id, METRICS, attributes=("name", "step"))
    stored = {(row["name"], row["step"]) for row in rows}
    for logged in history:
        for name in NAMES:
            if name in logged and (name, logged["step"]) not in stored:
                yield name, float(logged[name]), int(logged["step"]), float(logged["epoch"])


def wrong_checkpoints(table: Table, job_id: str, sealed: Sequence[Sealed]) -> tuple[list[int], list[Sealed]]:
    """Steps of rows whose checkpoint is not there, and checkpoints without a complete row."""
    rows = list(rows_of(table, job_id, CHECKPOINTS, attributes=("step", "size_bytes")))
    there = {one.step for one in sealed}
    whole = {int(row["step"]) for row in rows if "size_bytes" in row}  # a worker that ends names the step alone
    gone = [int(row["step"]) for row in rows if int(row["step"]) not in there]
    return gone, [one for one in sealed if one.step not in whole]


@dataclass(frozen=True, slots=True)
class AwsRunStore(RunStore):
    """A table and a bucket, each of which may be missing; `attempt` is None where no worker owns the job's row."""

    jobs_table: str | None
    artifacts_bucket: str | None
    attempt: int | None = None

    def set_status(self, job_id: str, job_name: str, status: State) -> None:
        """See `RunStore`."""
        if self.jobs_table and self.attempt is None:
            JobTable(clients.dynamodb(), self.jobs_table).set_status(job_id, job_name, status)

    def open_metrics(
        self, job_id: str, history: Sequence[Mapping[str, Any]], sealed: Sequence[Sealed] | None
    ) -> MetricsSink:
        """See `RunStore`."""
        if not self.jobs_table:
            return NoMetrics()
        try:
            days = WorkerEnv.read(os.environ).num_rows_days
        except ValueError as error:
            raise UserError(str(error)) from None
        table = Table(clients.dynamodb(), self.jobs_table)
        return JobStore(table, job_id, self.attempt, keep_days=days, history=history, sealed=sealed)

    def open_artifacts(self, job_id: str, job_name: str) -> ArtifactSink | None:
        """See `RunStore`."""
        if not self.artifacts_bucket:
            return None
        cli = WorkerEnv.read(os.environ).aws_cli
        artifacts = S3Artifacts(self.artifacts_bucket, run_prefix(job_name, job_id), cli=cli)
        try:
            artifacts.check()
            with clients.aws_faults(f"look for bucket '{self.artifacts_bucket}'"):
                clients.s3().list_objects_v2(Bucket=self.artifacts_bucket, Prefix="runs/", MaxKeys=1)
        except (UserError, WorldError) as error:
            if self.attempt is None:
                raise
            # No reason not to train: a complete run that cannot be delivered waits for it.
            print(f"warning: results could not be stored in S3 at this moment: {error}", file=sys.stderr, flush=True)
        return artifacts
