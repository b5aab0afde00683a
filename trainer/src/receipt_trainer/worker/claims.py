"""Checks before a worker claims a job: messages that wear out, leases that no right clock has written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.model import TERMINAL, UnreadableRow, is_impossible
from receipt_trainer.jobs.queue import Message, SqsQueue
from receipt_trainer.jobs.repository import JobTable

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
