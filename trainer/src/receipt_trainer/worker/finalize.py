"""What becomes of job and message when an attempt has ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from receipt_trainer.contract import names
from receipt_trainer.contract.message import new_deduplication_id
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.errors import WorldError
from receipt_trainer.jobs.job_table import JobTable
from receipt_trainer.jobs.lifecycle import WAITING, Attempt, Job, State
from receipt_trainer.jobs.measured import measure
from receipt_trainer.jobs.queue import JobQueue, Message
from receipt_trainer.training import checkpoints
from receipt_trainer.worker.events import Ending
from receipt_trainer.worker.settings import WorkerSettings

ATTEMPTS: Final = 3
WAIT_S: Final = 2.0
"""Between tries to write the end; each has botocore's own retries inside."""


def newest_step(run_dir: Path) -> int | None:
    """Step of the newest sealed checkpoint; the child looks into it before it goes on from there.

    None if there is none, or if the folder cannot be read: then it is the child that fails of it, in the job's name.
    """
    try:
        sealed = [path for path in checkpoints.folders(run_dir) if (path / checkpoints.SEAL).is_file()]
    except OSError:
        return None
    return int(sealed[0].name.rpartition("-")[2]) if sealed else None


@dataclass(frozen=True, slots=True)
class Effort:
    """What an attempt spent.

    Attributes:
        start_step: where it began.
        seconds: from its claim to the end of its training process.
        instance_type: of its machine, if that is an instance.
    """

    start_step: int
    seconds: float
    instance_type: str | None


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Writes an attempt's end. State first, the message last: whatever fails between the two, the message comes back.

    Attributes:
        run_dir: the run's folder.
    """

    settings: WorkerSettings
    table: JobTable
    queue: JobQueue
    job: Job
    attempt: Attempt
    message: Message
    run_dir: Path

    def write(self, ending: Ending, effort: Effort | None = None) -> State | None:
        """Leave job and message as the ending wants them; the job's new state, None if the job is another's.

        Args:
            effort: of the attempt; without it nothing is said of its speed.

        Raises:
            LeaseLost: the job is not the attempt's any more.
            UserError, WorldError: it could not be written; the lease runs out and the message comes back.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(WorldError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_fixed(WAIT_S),
            reraise=True,
        )
        return retrying(self._write, ending, effort)

    def _write(self, ending: Ending, effort: Effort | None) -> State | None:
        if ending.how == "lost":
            return None
        state = self._write_state(ending, effort)
        if state not in WAITING:
            self.queue.delete(self.message)
            return state
        pause_s = 0 if ending.how == "interrupted" else self.settings.retry_delay_s
        if not self.queue.extend(self.message, pause_s):
            # Purged, dropped for its age, or another worker's after all: one too many is harmless, one too few is not.
            self.queue.send(self.job.job_id, new_deduplication_id(self.job.job_id))
        return state

    def _write_state(self, ending: Ending, effort: Effort | None) -> State:
        """What the job is now; all these calls may be made again for the same attempt."""
        if ending.how in ("interrupted", "undelivered"):
            is_put_off = ending.how == "undelivered"
            return self.table.interrupt(self.attempt, ending.reason, newest_step(self.run_dir), is_put_off=is_put_off)
        if ending.how in ("failed", "mistaken"):
            return self.table.fail(self.attempt, ending.reason, final=ending.how == "mistaken")
        if ending.how == "cancelled":
            self.table.end_cancelled(self.attempt, ending.reason)
            return "CANCELLED"
        record = self.record()
        score = record.overall if record else None
        speed = measure(record, effort.start_step, effort.seconds, effort.instance_type) if record and effort else None
        self.table.succeed(self.attempt, score.f1 if score else None, self._artifacts(), speed)
        return "SUCCEEDED"

    def record(self) -> RunRecord | None:
        """The run's record; None if there is none that can be read."""
        try:
            return RunRecord.load(self.run_dir / names.RUN_FILE)
        except (OSError, ValueError):
            return None

    def _artifacts(self) -> str | None:
        from receipt_trainer.aws.artifacts import S3Artifacts, run_prefix

        bucket = self.settings.artifacts_bucket
        return S3Artifacts(bucket, run_prefix(self.job.name, self.job.job_id)).url if bucket else None
