"""How an attempt can end, and what becomes of job and message then."""

from __future__ import annotations

import queue as inboxes
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import structlog
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from receipt_trainer.aws.artifacts import S3Artifacts, run_prefix
from receipt_trainer.contract import names
from receipt_trainer.contract.run_record import AnyRecord, LayoutLMRecord, load_record
from receipt_trainer.contract.waiting import new_deduplication_id
from receipt_trainer.errors import WorldError
from receipt_trainer.jobs import state_machine
from receipt_trainer.jobs.estimate import measure
from receipt_trainer.jobs.model import WAITING, Attempt, Job, State
from receipt_trainer.jobs.queue import Message, SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.training import checkpoints
from receipt_trainer.worker.interruptions import Advice, Interruption
from receipt_trainer.worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Exited:
    """The child has ended."""

    code: int


How = Literal["succeeded", "failed", "user_error", "upload_failed", "interrupted", "cancelled", "limited", "lost"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, and why in one line.

    Attributes:
        is_machine_fault: it is rather the machine that failed than the job; of an undelivered run: this machine cannot
            deliver any, because it lacks the rights or an AWS CLI.
        is_stuck: not even SIGKILL has ended the process: this machine can train nothing more.
    """

    how: How
    reason: str = ""
    is_machine_fault: bool = False
    is_stuck: bool = False


Event = Exited | Ending | Advice | Interruption
"""The child has ended; or its attempt has to end so; or its instance goes, or may go."""
Inbox = inboxes.SimpleQueue[Event]
"""Queue of all events of an attempt, from threads and from signal handlers alike."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claimed job and the message that named it; both moments are of the worker's clock.

    Attributes:
        held_until: until then the claim's lease is ours.
        received_at: the message was not received before.
    """

    job: Job
    attempt: Attempt
    queue: SqsQueue
    message: Message
    held_until: float = 0.0
    received_at: float = 0.0


ATTEMPTS: Final = 3
WAIT_S: Final = 2.0
"""Between tries to write the end; each has botocore's own retries inside."""

_log = structlog.get_logger(__name__)


def newest_step(run_dir: Path) -> int | None:
    """Step of the newest sealed checkpoint; the child looks into it before it resumes from there.

    None if there is none, or if the folder cannot be read: then it is the child that fails of it, in the job's name.
    """
    try:
        sealed = [path for path in checkpoints.folders(run_dir) if (path / checkpoints.SEAL).is_file()]
    except OSError:
        return None
    return int(sealed[0].name.rpartition("-")[2]) if sealed else None


@dataclass(frozen=True, slots=True)
class Effort:
    """Consumption of an attempt: seconds from its claim to the end of its training process."""

    start_step: int
    seconds: float
    instance_type: str | None


@dataclass(frozen=True, slots=True)
class Left:
    """How an attempt left its job; `pause_s`: before the next try to deliver its complete run, None if it has none."""

    state: State
    pause_s: int | None = None
    is_held: bool = False

    @property
    def is_deferred(self) -> bool:
        """Whether its complete run is delivered later."""
        return self.pause_s is not None


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Writes an attempt's end. State first, the message last: after a fault between the two, the message returns."""

    settings: WorkerSettings
    table: JobTable
    claimed: Claimed
    run_dir: Path

    def write(self, ending: Ending, effort: Effort | None = None) -> Left | None:
        """Leave job and message as the ending wants them; how the job is left, None if it is another's.

        Without `effort` nothing is said of its speed.

        Raises:
            LeaseLost: the attempt no longer holds the job.
            UserError, WorldError: it could not be written; the lease runs out and the message comes back.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(WorldError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_fixed(WAIT_S),
            reraise=True,
        )
        return retrying(self._write, ending, effort)

    def _write(self, ending: Ending, effort: Effort | None) -> Left | None:
        if ending.how == "lost":
            return None
        left = self._write_state(ending, effort)
        pause_s = self._pause_s(left, ending, effort)
        job, queue, message = self.claimed.job, self.claimed.queue, self.claimed.message
        if pause_s is None:
            queue.delete(message)
        elif not queue.extend(message, pause_s):
            # Purged, dropped for its age, or another worker's after all: one too many is harmless, one too few is not.
            new = new_deduplication_id(job.job_id)
            queue.send(job.job_id, new, new, job.body_version)
            _log.warning("the job's message was gone; it has another one", job_id=job.job_id)
        return left

    def _pause_s(self, left: Left, ending: Ending, effort: Effort | None) -> int | None:
        """Seconds for which the message is hidden; None: the job needs none."""
        if left.state not in WAITING or left.is_held:
            return None
        if left.pause_s is not None:
            held_s = effort.seconds if effort is not None else 0.0
            return int(max(0.0, min(left.pause_s, self.settings.max_receive_s - held_s)))
        return 0 if ending.how == "interrupted" else self.settings.retry_delay_s

    def _write_state(self, ending: Ending, effort: Effort | None) -> Left:
        """How the job is left; all these calls may be made again for the same attempt."""
        table, attempt, reason = self.table, self.claimed.attempt, ending.reason
        if ending.how == "interrupted":
            return Left(table.interrupt(attempt, reason, newest_step(self.run_dir)))
        if ending.how == "upload_failed":
            first_s = self.settings.retry_delay_s
            job = table.defer(attempt, reason, newest_step(self.run_dir), first_s)
            is_deferred = job.status == "INTERRUPTED" and job.next_try_at is not None
            pause_s = state_machine.pause_s(job.num_undelivered, first_s) if is_deferred else None
            return Left(job.status, pause_s, job.is_held)
        if ending.how in ("failed", "user_error"):
            return Left(table.fail(attempt, reason, final=ending.how == "user_error"))
        if ending.how == "limited":
            return Left(table.stop_at_limit(attempt, reason, newest_step(self.run_dir)))
        if ending.how == "cancelled":
            table.end_cancelled(attempt, reason)
            return Left("CANCELLED")
        record = self.record()
        score = record.overall if isinstance(record, LayoutLMRecord) else None
        speed = measure(record, effort.start_step, effort.seconds, effort.instance_type) if record and effort else None
        bucket, own = self.settings.artifacts_bucket, self.claimed.job
        artifacts = S3Artifacts(bucket, run_prefix(own.name, own.job_id)).url if bucket else None
        table.succeed(attempt, score.f1 if score else None, artifacts, speed)
        return Left("SUCCEEDED")

    def record(self) -> AnyRecord | None:
        """The run's record; None if there is none that can be read."""
        try:
            return load_record(self.run_dir / names.RUN_FILE)
        except (OSError, ValueError):
            return None
