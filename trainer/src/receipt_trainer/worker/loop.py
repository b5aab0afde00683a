"""The worker: polls its queues in order, trains one job at a time, and goes when it must or has nothing to do.

Before a claim it looks after messages that wear out and leases that no right clock has written.
"""

from __future__ import annotations

import math
import queue as inboxes
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.model import MAX_PAUSE_S, TERMINAL, Attempt, Job, UnreadableRow, is_impossible
from receipt_trainer.jobs.queue import VISIBILITY_S, Message, SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.state_machine import Refusal
from receipt_trainer.worker.attempt import AttemptRun, WorkerParts
from receipt_trainer.worker.child import Scratch
from receipt_trainer.worker.circuit_breaker import Breaker
from receipt_trainer.worker.finalize import Claimed, Inbox
from receipt_trainer.worker.interruptions import Advice, Interruption
from receipt_trainer.worker.retention import Retention
from receipt_trainer.worker.shutdown import InstanceNotEndedError, Shutdown

AGAIN_S: Final = 3600.0
"""A job's message is renewed once in so many seconds: a wrong time of day must not do it again and again."""

_log = structlog.get_logger(__name__)


class Renewal:
    """Looks at each received message before its job is claimed, while nothing depends on that message yet."""

    def __init__(self, table: JobTable, clock: Callable[[], float], now: Callable[[], datetime]) -> None:
        self._table, self._clock, self._now = table, clock, now
        self._renewed_at: dict[str, float] = {}

    def renew(self, queue: SqsQueue, message: Message) -> bool:
        """Whether the message was sent anew: the new one is received next, and the old one is void.

        One that cannot be renewed is as good as it was; it is tried again when it is received again.
        """
        job_id = message.job_id
        if job_id is None or not message.is_worn(self._now()):
            return False
        version = self._version(job_id, message)
        if version is None:
            return False
        renewed_at = self._renewed_at.get(job_id)
        if renewed_at is not None and self._clock() - renewed_at < AGAIN_S:
            return False
        self._renewed_at[job_id] = self._clock()
        try:
            queue.renew(message, job_id, version)
        except (UserError, WorldError) as error:
            _log.warning("the message is not renewed yet", job_id=job_id, error=str(error))
            return False
        _log.info("message renewed", job_id=job_id, num_receives=message.num_receives, sent_at=str(message.sent_at))
        return True

    def _version(self, job_id: str, message: Message) -> int | None:
        """Version of the new message; None if nothing is left to do for the job, or no worker can claim it."""
        try:
            job = self._table.find(job_id)
        except UnreadableRow:
            return None  # left to the dead-letter queue
        except (UserError, WorldError):
            return message.version  # unknown; a message too many is harmless, one too few is not
        return job.body_version if job is not None and job.status not in TERMINAL and not job.is_held else None


class StaleLeases:
    """One worker's observations of leases that no correct clock can have written: without it a job whose worker is
    gone would wait for hours.

    What counts is not the clock but whether the lease moves: a worker that lives renews it every minute, whatever its
    clock says. A lease that lies too far ahead, and has not moved for as long as any lease lasts, is broken by the
    next claim.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float], now: Callable[[], datetime]) -> None:
        """Start with none; `lease_s` is how long a lease lasts, `clock` counts seconds that only grow."""
        self._lease_s, self._clock, self._now = lease_s, clock, now
        self._seen: dict[str, tuple[datetime, float]] = {}

    def saw(self, job_id: str, lease_expires_at: datetime | None) -> None:
        """A claim was refused for this lease."""
        if lease_expires_at is None or not is_impossible(lease_expires_at, self._now()):
            self._seen.pop(job_id, None)
        elif self._seen.get(job_id, (None, 0.0))[0] != lease_expires_at:
            self._seen[job_id] = (lease_expires_at, self._clock())

    def broken(self, job_id: str) -> datetime | None:
        """The lease of the job that was not renewed for too long, if it is still that one; None: there is none."""
        lease, since = self._seen.get(job_id, (None, 0.0))
        return lease if lease is not None and self._clock() - since > self._lease_s else None


FAULT_WAIT_S: Final = 10.0
"""Wait after AWS could not be asked for a message, or for the job that it names."""
FAULTS_S: Final = 60.0
"""For how long a worker endures only faults, if it would not be idle for longer anyway."""

STOPPED: Final = "the pool is stopped: its group's maximum is 0"

STRANGER_S: Final = 10
"""For how long a message is hidden that is not ours; after 100 receives the redrive policy takes it away."""


@dataclass(eq=False)
class Worker(WorkerParts):
    """Takes jobs until it has to go; `run` is called once."""

    def __post_init__(self) -> None:
        settings, clock, now = self.settings, self.clock, self.now
        self._shutdown = Shutdown(self)
        self._breaker, self._renewal = Breaker(), Renewal(self.table, clock, now)
        self._retention = Retention(
            settings.checkpoints_dir, self.table, settings.checkpoints_days, clock=clock, now=now
        )
        self._stale = StaleLeases(settings.lease_s, clock, now)
        self._scratch: Scratch | None = None
        self._inbox: Inbox = inboxes.SimpleQueue()
        self._interruption: Interruption | None = None
        self._advice: Advice | None = None
        self._beat_at = 0.0
        self._has_received = False  # a message, or an answer of every queue: the last one is asked last
        self._faults_since: float | None = None

    def interrupt(self, interruption: Interruption) -> None:
        """The worker has to go. May be called in any thread and in a signal handler; the first one counts."""
        if self._interruption is None:
            self._interruption = interruption
            self._inbox.put(interruption)

    def advise(self, advice: Advice) -> None:
        """The instance may be taken soon, or not: a job that trains is saved and continues; a worker without one goes.

        May be called in any thread.
        """
        self._advice = advice
        self._inbox.put(advice)

    def run(self) -> str:
        """Work; returns why it ended. On an instance of a group, the instance is then being ended.

        An instance whose worker fails is ended as well, unless the worker has never been of use: a boot that fails is
        counted, and the count ends it.

        Raises:
            UserError: a queue or table is not there, or refuses.
            WorldError: AWS could not be used for longer than a worker may be idle, or does not end the instance.
        """
        try:
            if self.registry is not None:
                self.registry.register()
            with suppress(OSError):  # of a full disk each job says it itself
                self._scratch = Scratch()
            return self._work()
        except InstanceNotEndedError:
            raise
        except (UserError, WorldError) as error:
            if self._has_received:
                self._shutdown.leave(str(error), replace=False)
            else:
                self._shutdown.deregister(str(error))
            raise
        except Exception as error:
            self._shutdown.deregister(f"{type(error).__name__}: {error}")
            raise
        finally:
            if self._scratch is not None:
                self._scratch.close()

    def _work(self) -> str:
        num_jobs, useful_at = 0, self.clock()
        while self._interruption is None:
            try:
                found = self._receive(useful_at + self.settings.idle_timeout_s - self.clock())
                if found is not None and self._renewal.renew(*found[:2]):
                    continue
                if found is not None and self.member is not None and self.member.is_stopped():
                    self._give_back(*found)
                    return self._go(STOPPED, replace=True)
                has_worked = found is not None and self._handle(*found)
                self._faults_since = None
            except (UserError, WorldError) as error:
                self._endure(error)
                continue
            if has_worked:
                num_jobs, useful_at = num_jobs + 1, self.clock()
                self._shutdown.stays()
                if (broken := self._breaker.reason) is not None:
                    return self._go(broken, replace=True)
                if num_jobs == self.settings.max_jobs:
                    return self._go(f"{num_jobs} jobs done", replace=False)
            elif found is None:
                if self.member is not None:
                    self.member.protect(False)
                self._retention.look(lambda: self._interruption is not None)
                is_idle = self.clock() - useful_at >= self.settings.idle_timeout_s
                if self._advice is not None or is_idle:
                    timeout = f"idle for {self.settings.idle_timeout_s:g} s"
                    reason = timeout if self._advice is None else f"idle at a {self._advice.reason}"
                    answer = self._shutdown.leave_idle(reason)
                    if answer == "left":
                        return reason
                    if answer == "kept":  # the group is as small as it may be
                        useful_at, self._advice = self.clock(), None
                    else:
                        self._pause(FAULT_WAIT_S)
        if self._interruption.kind == "lifecycle":
            self._shutdown.leave_to_group(self._interruption.reason)
            return self._interruption.reason
        return self._go(self._interruption.reason, replace=True)

    def _go(self, reason: str, *, replace: bool) -> str:
        self._shutdown.leave(reason, replace=replace)
        return reason

    def _endure(self, error: UserError | WorldError) -> None:
        """Wait after a fault of AWS; raises it where there has been nothing else for too long.

        A refusal is endured as well once the queue has been read: rights that are being changed lack for a moment.
        """
        now = self.clock()
        self._faults_since = now if self._faults_since is None else self._faults_since
        is_mistake = isinstance(error, UserError) and not self._has_received
        if is_mistake or now - self._faults_since > max(self.settings.idle_timeout_s, FAULTS_S):
            raise error
        _log.warning("no job can be taken", error=str(error))
        self._pause(FAULT_WAIT_S)

    def _pause(self, seconds: float) -> None:
        """Wait, but not beyond an interruption."""
        if self._interruption is None:
            try:
                self._inbox.get(timeout=seconds)
            except inboxes.Empty:
                return

    def _receive(self, idle_s: float) -> tuple[SqsQueue, Message, float] | None:
        """The first message of the first queue that has one, and a moment before it came.

        The last queue is polled no longer than the worker may still be idle; a long poll has a second at least.
        """
        poll_s = min(self.settings.poll_s, max(1, math.ceil(idle_s)))
        if self.registry is not None and self.clock() - self._beat_at >= self.settings.beat_s:
            self._beat_at = self.clock()
            self.registry.beat()
        for queue in self.queues:
            if self._interruption is not None:
                return None
            before = self.clock()
            message = queue.receive(poll_s if queue is self.queues[-1] else 0)
            self._has_received |= message is not None or queue is self.queues[-1]
            if message is not None:
                return queue, message, before
        return None

    def _give_back(self, queue: SqsQueue, message: Message, received_at: float) -> None:
        try:
            queue.release(message)
        except (UserError, WorldError) as error:
            _log.warning("the message comes back when its time is over", error=str(error))

    def _handle(self, queue: SqsQueue, message: Message, received_at: float) -> bool:
        """Claim and train; whether there was a job to train.

        Raises:
            UserError, WorldError: nothing could be claimed; the message comes back when its time is over.
        """
        if message.job_id is None:
            _log.error("a message that cannot be read", reason=message.reason)
            queue.extend(message, max(message.hide_s, STRANGER_S))
            return False
        if self._interruption is not None:
            self._give_back(queue, message, received_at)
            return False
        held_until = self.clock() + self.settings.lease_s
        found = self._claim(queue, message, message.job_id)
        if found is None:
            return False
        job, claim = found
        log = _log.bind(job_id=job.job_id)
        log.info("claimed", attempt=claim.number, job_name=job.name)
        self._begin(job.job_id, claim.number)
        claimed = Claimed(job, claim, queue, message, held_until, received_at)
        run = AttemptRun(self, claimed, self._inbox, self._scratch.path if self._scratch is not None else None)
        try:
            self._breaker.ended(run.run())
        except (UserError, WorldError, UnreadableRow) as error:
            log.error("the job's state is not written; its message comes back", error=str(error))
        if run.left is not None and run.left.is_held:
            log.error("held: its complete run is delivered only when somebody asks for it")
        if self.outcomes is not None:
            self.outcomes.ended(run.left)
        if self.registry is not None and self._interruption is None:
            self.registry.idle()
        if run.left is not None and run.left.state == "SUCCEEDED" and self.settings.artifacts_bucket:
            self._retention.finished(job.job_id)
        return True

    def _claim(self, queue: SqsQueue, message: Message, job_id: str) -> tuple[Job, Attempt] | None:
        """The job and our claim on it; None if it is not to be had, and the message is then seen to.

        Raises: see `_handle`.
        """
        log = _log.bind(job_id=job_id)
        try:
            claim = self.table.claim(
                job_id,
                self.machine.worker_id,
                self.settings.lease_s,
                self.machine.as_row(),
                broken_lease=self._stale.broken(job_id),
                message_id=message.message_id,
            )
            job = None if isinstance(claim, Refusal) else self.table.find(job_id)
        except UnreadableRow as error:
            log.error("not claimed; this version cannot read the job's row", reason=error.reason)
            queue.extend(message, VISIBILITY_S)
            return None
        if isinstance(claim, Refusal) or job is None:
            refusal = claim if isinstance(claim, Refusal) else Refusal("not there")
            log.info("not claimed", why=refusal.kind)
            self._refused(queue, message, refusal)
            return None
        return job, claim

    def _begin(self, job_id: str, attempt: int) -> None:
        """Guard the instance, say what it does, and begin with an inbox that holds nothing of an earlier attempt."""
        if self.member is not None:
            self.member.protect(True)
        if self.registry is not None:
            self.registry.running(job_id, attempt)
        self._inbox = inboxes.SimpleQueue()
        if self._interruption is not None:
            self._inbox.put(self._interruption)

    def _refused(self, queue: SqsQueue, message: Message, refusal: Refusal) -> None:
        """A job that has ended or is held needs no message; one that another worker has, when that one's lease ends.

        If that worker has another message of the job, this one is too many: visible, it would have an instance launched
        for it again and again while the job is trained. Where the other one is gone, its worker sends a new one when
        the job waits again, and where that worker is gone, too, the look at the queues does.

        One whose run is delivered later needs it then: SQS hides it for so long in one go. One that this table does
        not know may be another table's, unless changes of it are known here: the redrive policy keeps its message.
        """
        job_id = str(message.job_id)
        self._stale.saw(job_id, refusal.lease_expires_at)
        until = refusal.lease_expires_at
        is_spare = refusal.message_id not in (None, message.message_id) and (
            until is not None and not is_impossible(until, self.now())
        )
        if is_spare or refusal.kind in ("done", "cancelled", "held"):
            queue.delete(message)
            return
        if refusal.kind == "not there":
            if self.table.has_history(job_id):
                queue.delete(message)
            else:
                queue.extend(message, STRANGER_S)
            return
        if refusal.next_try_at is not None:
            pause_s = (refusal.next_try_at - self.now()).total_seconds()
            queue.extend(message, int(min(max(1.0, pause_s + 1), MAX_PAUSE_S)))
            return
        left_s = (until - self.now()).total_seconds() if until is not None else self.settings.retry_delay_s
        queue.extend(message, int(min(max(1.0, left_s + 1), self.settings.visibility_s)))
