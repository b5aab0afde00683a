"""Messages of waiting jobs are sent anew before SQS drops them: after too many receives, or for their age."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.job_table import JobTable
from receipt_trainer.jobs.lifecycle import TERMINAL, UnreadableRow
from receipt_trainer.jobs.queue import JobQueue, Message

AGAIN_S: Final = 3600.0
"""A job's message is renewed once in so many seconds: a wrong time of day must not do it again and again."""

_log = structlog.get_logger(__name__)


class Renewal:
    """Looks at each received message before its job is claimed, while nothing depends on that message yet."""

    def __init__(self, table: JobTable, clock: Callable[[], float], now: Callable[[], datetime]) -> None:
        """Take the jobs table, a clock of seconds that only grow, and the time of day."""
        self._table, self._clock, self._now = table, clock, now
        self._renewed_at: dict[str, float] = {}

    def renew(self, queue: JobQueue, message: Message) -> bool:
        """Whether the message was sent anew: the new one is received next, and the old one means nothing any more.

        One that cannot be renewed is as good as it was; it is tried again when it is received again.
        """
        job_id = message.job_id
        if job_id is None or not message.is_worn(self._now()) or not self._needs_message(job_id):
            return False
        renewed_at = self._renewed_at.get(job_id)
        if renewed_at is not None and self._clock() - renewed_at < AGAIN_S:
            return False
        self._renewed_at[job_id] = self._clock()
        try:
            queue.renew(message, job_id)
        except (UserError, WorldError) as error:
            _log.warning("the message is not renewed yet", job_id=job_id, error=str(error))
            return False
        _log.info("message renewed", job_id=job_id, num_receives=message.num_receives, sent_at=str(message.sent_at))
        return True

    def _needs_message(self, job_id: str) -> bool:
        """Whether the job still has something to do; what nobody can claim is left to the dead-letter queue."""
        try:
            job = self._table.find(job_id)
        except UnreadableRow:
            return False
        except (UserError, WorldError):
            return True  # nobody knows; a message too many is harmless, one too few is not
        return job is not None and job.status not in TERMINAL and not job.is_held
