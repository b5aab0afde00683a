"""Jobs in the jobs table: every change of state is one conditional transaction, fenced by the attempt's number."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws.dynamo import Sleep
from receipt_trainer.contract.tables import JOB_SK, attempt_sk
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs import changes, lifecycle, limits
from receipt_trainer.jobs.changes import Ending
from receipt_trainer.jobs.lifecycle import OWNED, Attempt, Job, Refusal, State, UnreadableRow
from receipt_trainer.jobs.limits import Limits
from receipt_trainer.jobs.measured import Measured
from receipt_trainer.jobs.metrics_writer import iso, utc_now
from receipt_trainer.jobs.transition import JobRows

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

MAX_TRIES: Final = 20
"""Readings of a job that others keep changing between our reading and our writing; each time one of them got on."""


class LeaseLost(Exception):  # noqa: N818 - an event of the protocol, which a worker expects
    """The job is not this attempt's any more; nothing was written, and nothing more may be."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """A renewed lease.

    Attributes:
        cancel_requested: somebody wants the job ended.
        lease_expires_at: until when it holds now.
    """

    cancel_requested: bool
    lease_expires_at: datetime


class JobTable:
    """Thread-safe as its client is. Methods raise UserError and WorldError as `aws_faults` says.

    All that read a job raise UnreadableRow if its row cannot be read; `cancel` and `retry` make a UserError of it.

    The ending methods (interrupt, succeed, fail, end_cancelled) may be called again after a WorldError: what the
    attempt has reached already stands.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        clock: Callable[[], datetime] = utc_now,
        sleep: Sleep = time.sleep,
    ) -> None:
        """Take the table.

        Args:
            client: see `receipt_trainer.aws.clients.dynamodb`.
            table: name of the jobs table.
            clock: the time of day; leases are compared with it.
            sleep: waits so many seconds where transactions meet.
        """
        self._table, self._clock = table, clock
        self.client, self.name = client, table
        self._rows = JobRows(client, table, sleep)

    def create(self, job: Job) -> Job:
        """Store a new job as it is given, with its times set; where the job is there already, that one is returned.

        Raises:
            UserError: it is there, and its row cannot be read.
        """
        at = iso(self._clock())
        made = replace(job, version=1, created_at=at, updated_at=at)
        return made if self._rows.create(made.to_row(), at) else self.readable(job.job_id)

    def get(self, job_id: str) -> Job:
        """The job as it is now.

        Raises:
            UserError: there is no such job.
        """
        job = self.find(job_id)
        if job is None:
            raise UserError(f"there is no job '{job_id}' in table '{self._table}'")
        return job

    def find(self, job_id: str) -> Job | None:
        """The job as it is now; None if there is none."""
        row = self._rows.row(job_id, JOB_SK)
        return None if row is None else Job.from_row(row)

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
        """Make the job this worker's for `lease_s` seconds, if nobody else has it.

        Args:
            job_id: as the message names it.
            worker_id: of the worker; no two workers share one.
            lease_s: seconds from now, by this worker's clock.
            instance: what is known of the machine (instance_id, instance_type, price_usd_per_h, ...); kept with the
                attempt, so that its cost is known when the instance is gone.
            broken_lease: see `lifecycle.decide_claim`.
            message_id: of the message; whoever has another one of the job meanwhile knows that it is one too many.
        """
        for _ in range(MAX_TRIES):
            job, now = self.find(job_id), self._clock()
            if job is None:
                return Refusal("not there")
            decision = lifecycle.decide_claim(job, now, broken_lease)
            if isinstance(decision, Refusal):
                settles = decision.settles
                if settles is None or self._rows.write(job, changes.settled(job, settles, decision.reason, now)):
                    return decision
                continue
            given = Attempt(job_id, decision.number, worker_id, now + timedelta(seconds=lease_s))
            if self._rows.write(job, changes.claimed(job, decision, given, instance, now, message_id)):
                return given
        raise self._contended(job_id)

    def start(self, attempt: Attempt, start_step: int) -> None:
        """Training begins, at a checkpoint's step or at 0.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        for _ in range(MAX_TRIES):
            job = self._owned(attempt)
            if job.status == "RUNNING" or self._rows.write(job, changes.started(attempt, start_step, self._clock())):
                return
        raise self._contended(attempt.job_id)

    def renew(self, attempt: Attempt, lease_s: float) -> Renewed:
        """Make the lease end `lease_s` seconds from now.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        until = self._clock() + timedelta(seconds=lease_s)
        row = self._rows.renew(attempt, until)
        if row is None:
            raise LeaseLost(f"job {attempt.job_id} is not attempt {attempt.number}'s any more")
        return Renewed(bool(row.get("cancel_requested")), until)

    def interrupt(self, attempt: Attempt, reason: str, checkpoint_step: int | None) -> State:
        """The attempt had to go; another one goes on at the checkpoint. No failure, unless it was to be cancelled.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        return self._end(attempt, lifecycle.after_interruption, Ending("INTERRUPTED", reason, checkpoint_step))

    def put_off(self, attempt: Attempt, reason: str, checkpoint_step: int | None, first_pause_s: int) -> Job:
        """The attempt's run is complete and could not be delivered: the job waits for the next try, or is held.

        Args:
            first_pause_s: seconds before the second try, see `delivery.pause_s`.

        Returns:
            The job as it is then.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        ending = Ending("INTERRUPTED", reason, checkpoint_step, first_pause_s)
        self._end(attempt, lifecycle.after_interruption, ending)
        return self.get(attempt.job_id)

    def succeed(
        self, attempt: Attempt, f1: float | None, artifacts: str | None, measured: Measured | None = None
    ) -> None:
        """The job is done and its results are where `artifacts` says; `measured` is kept for later jobs' estimates.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        results = {"f1": f1, "artifacts": artifacts, "measured": measured.to_text() if measured else None}
        self._end(attempt, lambda job: "SUCCEEDED", Ending("SUCCEEDED", sets=results))

    def fail(self, attempt: Attempt, reason: str, *, final: bool = False) -> State:
        """The attempt failed: PENDING again, or FAILED at the limit, or at once if another would fail as well.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        return self._end(attempt, lambda job: lifecycle.after_failure(job, final=final), Ending("FAILED", reason))

    def stop_at_limit(self, attempt: Attempt, reason: str, checkpoint_step: int | None) -> State:
        """The job has taken as much as it may: FAILED, and by `retry` with a higher limit it goes on.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        ending = Ending("FAILED", reason, checkpoint_step, is_limit=True)
        return self._end(attempt, lambda job: lifecycle.after_failure(job, final=True), ending)

    def end_cancelled(self, attempt: Attempt, reason: str) -> None:
        """The attempt ended because the job was cancelled.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        self._end(attempt, lambda job: "CANCELLED", Ending("CANCELLED", reason))

    def cancel(self, job_id: str, reason: str | None = None) -> Job:
        """Cancel a waiting job; ask the worker of a claimed one to end it. Returns the job as it is then.

        Args:
            reason: why a waiting one is cancelled, if it is not on a person's request.

        Raises:
            UserError: no such job, its row cannot be read, or it has ended otherwise.
        """
        for _ in range(MAX_TRIES):
            job, now = self.readable(job_id), self._clock()
            to = lifecycle.after_cancel(job, now)
            if to == job.status or (to is None and job.cancel_requested):
                return job
            if to is None:
                self._rows.ask_to_cancel(job, iso(now))
                continue
            if self._rows.write(job, changes.settled(job, to, reason or "cancelled on request", now)):
                return self.get(job_id)
        raise self._contended(job_id)

    def forget_checkpoints(self, job: Job) -> bool:
        """Say in an ended job's row that its checkpoints go now; False if the job has changed since it was read.

        It counts as a change, so that a `retry` at the same moment does not overlook it.
        """
        return self._rows.forget_checkpoints(job, iso(self._clock()))

    def delete_checkpoint_rows(self, job_id: str) -> None:
        """Delete the rows of all checkpoints of a job."""
        self._rows.delete(job_id, "CHECKPOINT#")

    def has_history(self, job_id: str) -> bool:
        """Whether this table knows of changes of such a job, be its own row there or not."""
        return self._rows.has_any(job_id, "STATUS#")

    def retry(self, job_id: str, given: Limits | None = None) -> Job:
        """Make a failed or cancelled job PENDING, with its failures forgotten; the caller sends its message.

        One whose run is not delivered waits for nothing then, a held one waits again; another waiting job stays as it
        is, but for its limits. See `receipt_trainer.jobs.submit.retry_job`.

        Args:
            given: limits that replace the job's own from now on.

        Raises:
            UserError: no such job, its row cannot be read, it runs, it has succeeded, or it has reached a limit.
        """
        for _ in range(MAX_TRIES):
            job, now = self.readable(job_id), self._clock()
            to = lifecycle.after_retry(job, now)
            wanted = limits.with_limits(job, given or Limits())
            stays = to == job.status and (job.status == "PENDING" or job.undelivered_since is None)
            if stays and wanted is job:
                return job
            limits.require_room(self.client, self.name, wanted, now)
            if stays:
                is_written = self._rows.put_spec(wanted, iso(now))
            else:
                spec = None if wanted is job else wanted.spec
                is_written = self._rows.write(job, changes.retried(to, now, spec))
            if is_written:
                return self.get(job_id)
        raise self._contended(job_id)

    def readable(self, job_id: str) -> Job:
        """The job as it is now, for somebody who wants to change it.

        Raises:
            UserError: there is no such job, or its row cannot be read.
        """
        try:
            return self.get(job_id)
        except UnreadableRow as error:
            remedy = "mend the row, or use the trainer's version that wrote it"
            raise UserError(f"{error}; no worker takes the job: {remedy}") from None

    def _end(self, attempt: Attempt, to: Callable[[Job], State], ending: Ending) -> State:
        for _ in range(MAX_TRIES):
            try:
                job = self._owned(attempt)
            except LeaseLost:
                left = self._left_by(attempt, ending)
                if left is None:
                    raise
                return left
            change = changes.ended(job, attempt, to(job), ending, self._clock())
            if self._rows.write(job, change):
                return change.to
        raise self._contended(attempt.job_id)

    def _owned(self, attempt: Attempt) -> Job:
        """The job, if it is still the attempt's; that its lease is over does not matter until another one claims it."""
        job = self.find(attempt.job_id)
        if (
            job is None
            or job.status not in OWNED
            or (job.attempt, job.worker_id) != (attempt.number, attempt.worker_id)
        ):
            now = "gone" if job is None else f"{job.status}, attempt {job.attempt}"
            raise LeaseLost(f"job {attempt.job_id} is not attempt {attempt.number}'s any more: it is {now}")
        return job

    def _left_by(self, attempt: Attempt, ending: Ending) -> State | None:
        """The state in which this very ending has left the job before; None if the attempt ended otherwise."""
        row = self._rows.row(attempt.job_id, attempt_sk(attempt.number)) or {}
        is_this = row.get("worker_id") == attempt.worker_id and row.get("outcome") == ending.outcome
        return row.get("left") if is_this else None

    def _contended(self, job_id: str) -> WorldError:
        return WorldError(f"job {job_id}: others changed it {MAX_TRIES} times while it was to be written")
