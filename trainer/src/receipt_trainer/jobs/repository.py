"""The jobs table: every change of state is one conditional transaction, fenced by the attempt's number.

The outcome of a write is known even if its answer is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.dynamo import Sleep, Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract.tables import JOB_SK, attempt_sk, iso
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs import limits, state_machine
from receipt_trainer.jobs.estimate import Measured
from receipt_trainer.jobs.limits import Limits
from receipt_trainer.jobs.model import OWNED, Attempt, Job, State, UnreadableRow, spec_values
from receipt_trainer.jobs.rows import CHECKPOINTS, TRANSITIONS, row_of, rows_of
from receipt_trainer.jobs.state_machine import AttemptEnd, Change, Refusal
from receipt_trainer.jobs.transactions import Transactions

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


MAX_TRIES: Final = 20
"""Readings of a job that others keep changing between our reading and our writing; each time one of them got on."""


class LeaseLost(Exception):  # noqa: N818 - an event of the protocol, which a worker expects
    """The attempt no longer holds the job; nothing was written, and nothing more may be."""


class JobTable:
    """Thread-safe as its client is. Methods raise UserError and WorldError as `aws_faults` says.

    All that read a job raise UnreadableRow if its row cannot be read; `cancel` and `retry` make a UserError of it.
    All that take an attempt raise LeaseLost if that attempt no longer holds the job.

    The ending methods (interrupt, defer, succeed, fail, stop_at_limit, end_cancelled) may be called again after a
    WorldError: what the attempt has reached already stands.
    """

    def __init__(
        self, client: DynamoDBClient, table: str, *, clock: Callable[[], datetime] = utc_now, sleep: Sleep = time.sleep
    ) -> None:
        self.table, self._clock = Table(client, table), clock
        self._transactions = Transactions(self.table, sleep)

    def create(self, job: Job) -> Job:
        """Store a new job, with its times set; one that is there already is returned (UserError: unreadable)."""
        at = iso(self._clock())
        made = replace(job, version=1, created_at=at, updated_at=at)
        return made if self._transactions.create(made.to_row(), at) else self.readable(job.job_id)

    def get(self, job_id: str) -> Job:
        """The job as it is now; UserError if there is none."""
        return self._require(job_id, self.find(job_id))

    def find(self, job_id: str) -> Job | None:
        """The job as it is now; None if it does not exist."""
        row = row_of(self.table, job_id, JOB_SK)
        return None if row is None else Job.from_row(row)

    def set_status(self, job_id: str, name: str, status: State) -> None:
        """Say how a run without a queue is; its row is made if it is not there. UserError: a queue knows the job."""
        for now in self._tries(job_id):
            job, at = self._find_readable(job_id), iso(now)
            if job is None:
                new = Job(job_id, name, status, version=1, created_at=at, updated_at=at)
                if self._transactions.create(new.local_row(), at):
                    return
            elif job.queue_url is not None:
                raise UserError(f"job {job_id} was submitted to a queue; its workers alone may run it")
            elif job.status == status or self._transactions.write(job, Change(status, at)):
                return

    def claim(
        self,
        job_id: str,
        worker_id: str,
        lease_s: float,
        instance: Mapping[str, Any],
        *,
        broken_lease: datetime | None = None,
        message_id: str | None = None,
    ) -> Attempt | Refusal:
        """Make the job this worker's for `lease_s` seconds by its clock, if no other worker has it.

        Args:
            instance: what is known of the machine (instance_id, instance_type, price_usd_per_h, ...); kept with the
                attempt, so that its cost is known when the instance is gone.
            broken_lease: see `decide_claim`.
            message_id: of the message; a worker with another one of the job meanwhile knows that it is redundant.
        """
        for now in self._tries(job_id):
            job = self.find(job_id)
            if job is None:
                return Refusal("not there")
            decision = state_machine.decide_claim(job, now, broken_lease)
            if isinstance(decision, Refusal):
                if decision.settles is None:
                    return decision
                change = state_machine.settled(job, decision.settles, decision.reason, now)
                if self._transactions.write(job, change):
                    return decision
                continue
            given = Attempt(job_id, decision.number, worker_id, now + timedelta(seconds=lease_s))
            change = state_machine.claimed(job, decision, given, instance, now, message_id)
            if self._transactions.write(job, change):
                return given
        raise AssertionError("the tries end with a fault")

    def start(self, attempt: Attempt, start_step: int) -> None:
        """Training begins, at a checkpoint's step or at 0."""
        for now in self._tries(attempt.job_id):
            job, change = self._owned(attempt), state_machine.started(attempt, start_step, now)
            if job.status == "RUNNING" or self._transactions.write(job, change):
                return

    def renew(self, attempt: Attempt, lease_s: float) -> bool:
        """Make the lease end `lease_s` seconds from now; whether somebody wants the job ended."""
        row = self._transactions.renew(attempt, self._clock() + timedelta(seconds=lease_s))
        if row is None:
            raise LeaseLost(f"attempt {attempt.number} no longer holds job {attempt.job_id}")
        return bool(row.get("cancel_requested"))

    def interrupt(self, attempt: Attempt, reason: str, checkpoint_step: int | None) -> State:
        """The attempt had to go; another one resumes at the checkpoint. No failure, unless it was to be cancelled."""
        end = AttemptEnd("INTERRUPTED", reason, checkpoint_step)
        return self._end(attempt, state_machine.after_interruption, end)

    def defer(self, attempt: Attempt, reason: str, checkpoint_step: int | None, first_pause_s: int) -> Job:
        """The attempt's run is complete and could not be delivered: the job waits for the next try, or is held; as it
        is then.

        `first_pause_s`: before the second try, see `pause_s`.
        """
        end = AttemptEnd("INTERRUPTED", reason, checkpoint_step, first_pause_s)
        self._end(attempt, state_machine.after_interruption, end)
        return self.get(attempt.job_id)

    def succeed(
        self, attempt: Attempt, f1: float | None, artifacts: str | None, measured: Measured | None = None
    ) -> None:
        """The job is done and its results are where `artifacts` says; `measured` is kept for later jobs' estimates."""
        results = {"f1": f1, "artifacts": artifacts, "measured": measured.to_text() if measured else None}
        self._end(attempt, lambda job: "SUCCEEDED", AttemptEnd("SUCCEEDED", sets=results))

    def fail(self, attempt: Attempt, reason: str, *, final: bool = False) -> State:
        """The attempt failed: PENDING again, or FAILED at the limit, or at once if another would fail as well."""
        return self._end(attempt, partial(state_machine.after_failure, final=final), AttemptEnd("FAILED", reason))

    def stop_at_limit(self, attempt: Attempt, reason: str, checkpoint_step: int | None) -> State:
        """The job has taken as much as it may: FAILED; `retry` with a higher limit resumes it."""
        end = AttemptEnd("FAILED", reason, checkpoint_step, is_limit=True)
        return self._end(attempt, partial(state_machine.after_failure, final=True), end)

    def end_cancelled(self, attempt: Attempt, reason: str) -> None:
        """The attempt ended because the job was cancelled."""
        self._end(attempt, lambda job: "CANCELLED", AttemptEnd("CANCELLED", reason))

    def cancel(self, job_id: str, reason: str | None = None) -> Job:
        """Cancel a waiting job, for `reason`; ask the worker of a claimed one to end it. Returns the job as it is then.

        Raises:
            UserError: no such job, its row cannot be read, or it has ended otherwise.
        """
        for now in self._tries(job_id):
            job = self.readable(job_id)
            to = state_machine.after_cancel(job, now)
            if to == job.status or (to is None and job.cancel_requested):
                return job
            if to is None:
                self._transactions.set(job, {"cancel_requested": True, "updated_at": iso(now)})
                continue
            change = state_machine.settled(job, to, reason or "cancelled on request", now)
            if self._transactions.write(job, change):
                break
        return self.get(job_id)

    def forget_checkpoints(self, job: Job) -> bool:
        """Say in an ended job's row that its checkpoints go now; False if the job has changed since it was read.

        It counts as a change, so that a `retry` at the same moment does not overlook it.
        """
        return self._transactions.set(job, {"checkpoints_gone_at": iso(self._clock())})

    def delete_checkpoint_rows(self, job_id: str) -> None:
        """Delete the rows of all checkpoints of a job."""
        found = rows_of(self.table, job_id, CHECKPOINTS, attributes=("PK", "SK"))
        if keys := list(found):
            dynamo.batch_write(*self.table, f"delete rows of job {job_id}", deletes=keys)

    def has_history(self, job_id: str) -> bool:
        """Whether this table knows of changes of such a job, be its own row there or not."""
        return next(rows_of(self.table, job_id, TRANSITIONS, attributes=("SK",), page=1), None) is not None

    def retry(self, job_id: str, given: Limits | None = None) -> Job:
        """Make a failed or cancelled job PENDING, with its failures forgotten; the caller sends its message.

        One whose run is not delivered waits for nothing then, a held one waits again; another waiting job stays as it
        is, but for the limits `given`, which replace its own. See `receipt_trainer.jobs.submit.retry_job`.

        Raises:
            UserError: no such job, its row cannot be read, it runs, it has succeeded, or it has reached a limit.
        """
        for now in self._tries(job_id):
            job = self.readable(job_id)
            to = state_machine.after_retry(job, now)
            wanted = limits.with_limits(job, given or Limits())
            stays = to == job.status and (job.status == "PENDING" or job.undelivered_since is None)
            if stays and wanted is job:
                return job
            limits.require_room(self.table, wanted, now)
            spec = None if wanted is job else wanted.spec
            if stays:
                is_written = self._transactions.set(job, spec_values(wanted.spec) | {"updated_at": iso(now)})
            else:
                is_written = self._transactions.write(job, state_machine.retried(to, now, spec))
            if is_written:
                break
        return self.get(job_id)

    def readable(self, job_id: str) -> Job:
        """The job, for somebody who wants to change it; UserError if there is none, or it cannot be read."""
        return self._require(job_id, self._find_readable(job_id))

    def _find_readable(self, job_id: str) -> Job | None:
        try:
            return self.find(job_id)
        except UnreadableRow as error:
            remedy = "repair the row, or use the trainer's version that wrote it"
            raise UserError(f"{error}; no worker takes the job: {remedy}") from None

    def _require(self, job_id: str, job: Job | None) -> Job:
        if job is None:
            raise UserError(f"there is no job '{job_id}' in table '{self.table.name}'")
        return job

    def _tries(self, job_id: str) -> Iterator[datetime]:
        """The time, once for each try to write what others may change meanwhile; WorldError if they always do."""
        for _ in range(MAX_TRIES):
            yield self._clock()
        raise WorldError(f"job {job_id}: others changed it {MAX_TRIES} times while it was to be written")

    def _end(self, attempt: Attempt, to: Callable[[Job], State], end: AttemptEnd) -> State:
        for now in self._tries(attempt.job_id):
            try:
                job = self._owned(attempt)
            except LeaseLost:  # unless this very end has been written before
                row = row_of(self.table, attempt.job_id, attempt_sk(attempt.number)) or {}
                if (row.get("worker_id"), row.get("outcome")) != (attempt.worker_id, end.outcome) or "left" not in row:
                    raise
                left: State = row["left"]
                return left
            change = state_machine.ended(job, attempt, to(job), end, now)
            if self._transactions.write(job, change):
                return change.to
        raise AssertionError("the tries end with a fault")

    def _owned(self, attempt: Attempt) -> Job:
        """The job, if it is still the attempt's; that its lease is over does not matter until another one claims it."""
        job = self.find(attempt.job_id)
        if (
            job is None
            or job.status not in OWNED
            or (job.attempt, job.worker_id) != (attempt.number, attempt.worker_id)
        ):
            now = "gone" if job is None else f"{job.status}, attempt {job.attempt}"
            raise LeaseLost(f"attempt {attempt.number} no longer holds job {attempt.job_id}: it is {now}")
        return job
