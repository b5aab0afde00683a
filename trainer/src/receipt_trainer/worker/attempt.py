"""One claim of one job, from the claim to the last word about it: one child, one heartbeat, one ending."""

from __future__ import annotations

import queue as inboxes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from receipt_trainer.aws.autoscaling import GroupMember
from receipt_trainer.aws.server_time import since_boot_s, utc_now
from receipt_trainer.contract import names
from receipt_trainer.contract.sinks import MetricsSink, NoMetrics
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.model import Attempt, UnreadableRow
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable, LeaseLost
from receipt_trainer.worker import child as children
from receipt_trainer.worker.cloudwatch_metrics import Outcomes
from receipt_trainer.worker.finalize import Claimed, Conclusion, Effort, Ending, Exited, Inbox, Left, newest_step
from receipt_trainer.worker.heartbeat import RETRY_S, Heartbeat
from receipt_trainer.worker.interruptions import Advice, Interruption
from receipt_trainer.worker.limit_watch import LimitWatch
from receipt_trainer.worker.log_forwarder import LogForwarder, close_in_time
from receipt_trainer.worker.registry import InstanceRegistry, WorkerMachine
from receipt_trainer.worker.settings import WorkerSettings
from receipt_trainer.worker.stall_detector import StallWatch

MAX_WAIT_S: Final = 3600.0
"""Longest wait for an event: a thread takes no infinite one."""

OpenLog = Callable[[Attempt, Callable[[], bool]], MetricsSink]
"""Opens the log of an attempt's job; the second argument says whether it may still be written."""

_SAID: Final = {"user_error": "failed", "upload_failed": "could not deliver its run", "limited": "stopped at a limit"}
"""How an attempt ended, as the job's log says it where the word itself does not."""

_log = structlog.get_logger(__name__)


def run_dir_of(checkpoints_dir: Path, job_id: str) -> Path:
    """The run's folder, the same for every attempt; a job's name is no part of it, so it can be no path."""
    return checkpoints_dir / "jobs" / job_id


def _is_there(folder: Path) -> bool:
    """Whether it is a folder that can be looked at: not one that was deleted, or whose file system has gone."""
    try:
        return folder.is_dir()
    except OSError:
        return False


@dataclass(eq=False)
class WorkerParts:
    """What a worker works with; None where its machine or stack has no such thing.

    Attributes:
        queues: in the order in which they are polled.
        registry: the machine's row.
        member: the machine in its Auto Scaling group.
        outcomes: the metrics of the worker's stack.
        open_log: opens the log of an attempt's job.
        clock: seconds that only grow, also while the machine sleeps.
        now: the time of day, to compare with leases.
        sleep: waits between two requests to end the instance.
    """

    settings: WorkerSettings
    table: JobTable
    queues: Sequence[SqsQueue]
    machine: WorkerMachine
    registry: InstanceRegistry | None = None
    member: GroupMember | None = None
    outcomes: Outcomes | None = None
    command: Sequence[str] = children.COMMAND
    open_log: OpenLog | None = None
    clock: Callable[[], float] = since_boot_s
    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep


class AttemptRun:
    """Runs one attempt. It is the heartbeat's `Beat`, too. `left`: how the job is left, unless it is another's now."""

    def __init__(self, parts: WorkerParts, claimed: Claimed, inbox: Inbox, scratch: Path | None = None) -> None:
        self._parts, self._settings, self._claimed = parts, parts.settings, claimed
        self._inbox, self._scratch = inbox, scratch
        self._job, self._attempt = claimed.job, claimed.attempt
        self._run_dir = run_dir_of(self._settings.checkpoints_dir, self._job.job_id)
        self._conclusion = Conclusion(self._settings, parts.table, claimed, self._run_dir)
        self._limits = LimitWatch(parts, self._job, claimed.held_until - self._settings.lease_s)
        self._start_step = 0
        self._heartbeat: Heartbeat | None = None
        self._child: children.Child | None = None
        self._watch: StallWatch | None = None
        self._is_stuck = False
        self._sink = parts.open_log(self._attempt, self._holds) if parts.open_log is not None else NoMetrics()
        self.left: Left | None = None
        self._log = _log.bind(job_id=self._job.job_id, attempt=self._attempt.number)

    def run(self) -> Ending:
        """Train, and leave job, attempt and message as the ending wants them.

        Raises:
            UserError, WorldError: the end could not be written; the lease runs out and the message comes back.
        """
        try:
            ending = replace(self._limit() or self._train(), is_stuck=self._is_stuck)
            self._say(ending)
            seconds = self._parts.clock() - self._claimed.received_at
            effort = Effort(self._start_step, seconds, self._parts.machine.instance_type)
            self.left = self._conclusion.write(ending, effort)
        except LeaseLost as lost:
            ending = Ending("lost", str(lost), is_stuck=self._is_stuck)
        finally:
            close_in_time(self._sink)
        if ending.how == "lost":
            self._clear_up()
        self._log.info("attempt ended", how=ending.how, reason=ending.reason)
        return ending

    def _clear_up(self) -> None:
        """Of a job whose row was deleted while it was trained, the message goes, and what the training process wrote.

        Its metrics and log go by themselves. That the job was this table's is known: the claim was granted on its row.
        """
        try:
            if self._parts.table.find(self._job.job_id) is None:
                self._claimed.queue.delete(self._claimed.message)
                self._parts.table.delete_checkpoint_rows(self._job.job_id)
        except (UserError, WorldError, UnreadableRow) as error:
            self._log.warning("what is left of the job is not deleted", error=str(error))

    def _limit(self) -> Ending | None:
        """The ending of a job that has taken as much as it may. To deliver a complete run, no limit forbids."""
        if self._is_complete():
            return None
        reason = self._limits.look()
        return None if reason is None or self._is_complete() else Ending("limited", reason)

    def _is_complete(self) -> bool:
        record = self._conclusion.record()
        return record is not None and record.status == "complete"

    def _holds(self) -> bool:
        """Whether the lease is surely ours; without it nothing may be written."""
        left_s = self._heartbeat.seconds_held if self._heartbeat else self._claimed.held_until - self._parts.clock()
        return left_s > 0

    def _say(self, ending: Ending) -> None:
        """The end in the job's log, before its state: a reader who follows the log until then has all of it."""
        if ending.how == "lost":
            return
        level = "error" if ending.how in ("failed", "user_error", "upload_failed", "limited") else "info"
        reason = f": {ending.reason}" if ending.reason else ""
        self._sink.log(level, f"attempt {self._attempt.number} {_SAID.get(ending.how, ending.how)}{reason}")
        close_in_time(self._sink)

    def _train(self) -> Ending:
        step = self._start_step = newest_step(self._run_dir) or 0
        self._parts.table.start(self._attempt, step)
        self._sink.log("info", f"worker {self._attempt.worker_id} begins attempt {self._attempt.number} at step {step}")
        settings, machine, clock = self._settings, self._parts.machine, self._parts.clock
        heartbeat = self._heartbeat = Heartbeat(
            self,
            held_until=self._claimed.held_until,
            lease_s=settings.lease_s,
            interval_s=settings.beat_s,
            retry_s=min(RETRY_S, settings.beat_s),
            clock=clock,
        )
        try:
            job = children.ChildJob(
                job_id=self._job.job_id,
                attempt=self._attempt.number,
                spec=dict(self._job.spec),
                run_dir=self._run_dir,
                lease_s=max(0.0, heartbeat.seconds_held - settings.lease_margin_s),
                jobs_table=settings.jobs_table,
                receipts_table=settings.receipts_table,
                artifacts_bucket=settings.artifacts_bucket,
                needs_gpu=machine.pool == "gpu" and machine.instance_id is not None,
                save_interval_s=settings.save_interval_s,
            )
            on_exit, words = (lambda code: self._inbox.put(Exited(code))), LogForwarder(self._sink)
            self._child = children.Child(job, on_exit, command=self._parts.command, words=words, folder=self._scratch)
            self._watch = StallWatch(self._child.progress_file, settings.stall_s, clock)
            self._log.info("training", pid=self._child.pid, job_name=self._job.name)
            return self._wait(self._child)
        except OSError as error:
            return Ending("failed", f"the training process could not be started: {error}", is_machine_fault=True)
        finally:
            heartbeat.close()
            if self._child is not None:
                self._is_stuck = not self._end(self._child)

    def _wait(self, child: children.Child) -> Ending:
        """The first event but advice decides."""
        if (unpriced := self._limits.unpriced) is not None:
            self._sink.log("warning", unpriced)
        until = self._claimed.received_at + self._settings.max_receive_s
        while True:
            left_s, limit_s = until - self._parts.clock(), self._limits.wait_s()
            try:
                event = self._inbox.get(timeout=max(0.0, min(left_s, limit_s, MAX_WAIT_S)))
            except inboxes.Empty:
                if (limited := self._limit()) is not None:
                    self._sink.log("warning", f"asked for a checkpoint: {limited.reason}")
                    return self._stop(child, limited)
                if until > self._parts.clock():
                    continue
                return self._stop(child, Ending("interrupted", "SQS forgets a message that is held for 12 hours"))
            if not isinstance(event, Advice):
                return self._decide(event, child)
            self._log.info("asked for a checkpoint", reason=event.reason)
            self._sink.log("info", f"asked for a checkpoint, training continues: {event.reason}")
            child.ask_to_save()

    def _decide(self, event: Exited | Ending | Interruption, child: children.Child) -> Ending:
        if isinstance(event, Exited):
            return self._judge(event.code, child, None)
        if isinstance(event, Interruption):
            self._log.warning("interrupted", reason=event.reason)
            self._sink.log("warning", f"interrupted, asked for a checkpoint: {event.reason}")
            return self._stop(child, Ending("interrupted", event.reason))
        if event.how == "failed":
            self._sink.log("error", f"{event.reason}; the training process is ended")
        return event if event.how == "lost" else self._stop(child, event)

    def _stop(self, child: children.Child, asked: Ending) -> Ending:
        """Ask the child to stop; after its time, end it. What it managed to do counts more than what was asked."""
        child.ask_to_stop()
        if self._parts.registry is not None and asked.how == "interrupted":
            self._parts.registry.stopping(asked.reason)
        until = time.monotonic() + self._settings.stop_grace_s
        while True:
            try:
                event = self._inbox.get(timeout=max(0.0, until - time.monotonic()))
            except inboxes.Empty:
                self._log.warning("the training process did not stop in time", grace_s=self._settings.stop_grace_s)
                return asked
            if isinstance(event, Ending) and event.how == "lost":
                return event
            if isinstance(event, Exited):
                return self._judge(event.code, child, asked)

    def _end(self, child: children.Child) -> bool:
        """Kill it; whether it is gone. What waits inside the kernel, for a file system or a driver, may stay."""
        child.kill()
        is_gone = child.join(self._settings.kill_grace_s)
        if not is_gone:
            self._log.error("the training process cannot be ended", pid=child.pid)
        return is_gone

    def _judge(self, code: int, child: children.Child, asked: Ending | None) -> Ending:
        if code == children.EXIT_DONE:
            record = self._conclusion.record()
            if record is not None and record.status == "complete":
                return Ending("succeeded")
            return Ending("failed", f"the training process left no complete {names.RUN_FILE}")
        reason = child.why(code)
        if code == children.EXIT_MISTAKE:
            return Ending("user_error", reason)
        is_undelivered = code in (children.EXIT_UNDELIVERED, children.EXIT_UNDELIVERABLE)
        if is_undelivered and (asked is None or asked.how != "cancelled"):
            return Ending("upload_failed", reason, is_machine_fault=code == children.EXIT_UNDELIVERABLE)
        if asked is not None and asked.how == "limited" and self._is_complete():
            asked = Ending("interrupted", f"its run is complete and not delivered; {asked.reason}")
        if asked is not None:
            return asked
        if code == children.EXIT_LEASE:
            return Ending("interrupted", reason)
        if not _is_there(self._run_dir):
            return Ending("failed", f"the machine failed: the run's folder is gone: {reason}", is_machine_fault=True)
        return Ending("failed", reason, is_machine_fault=code < 0 or code == children.EXIT_MACHINE)

    def renew(self) -> bool:
        """See `Beat`."""
        return self._parts.table.renew(self._attempt, self._settings.lease_s)

    def extend(self) -> None:
        """See `Beat`."""
        if self._parts.registry is not None:
            self._parts.registry.beat()
        self._claimed.queue.extend(self._claimed.message, self._settings.visibility_s)

    def held(self, seconds: float) -> None:
        """See `Beat`."""
        if self._child is not None:
            self._child.extend(max(0.0, seconds - self._settings.lease_margin_s))
        if self._watch is not None and (reason := self._watch.look()) is not None:
            self._watch = None
            self._inbox.put(Ending("failed", reason, is_machine_fault=True))

    def cancelled(self) -> None:
        """See `Beat`."""
        self._inbox.put(Ending("cancelled", "cancelled on request"))

    def lost(self, reason: str) -> None:
        """See `Beat`."""
        self._inbox.put(Ending("lost", reason))  # before the exit, which would be judged otherwise
        if self._child is not None:
            self._child.kill()
