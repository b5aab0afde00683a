"""When a complete run that could not be delivered is tried again, and when nobody tries any more: decisions only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from receipt_trainer.jobs.lifecycle import MAX_PAUSE_S, TERMINAL, Job
from receipt_trainer.jobs.metrics_writer import iso

GIVEN_UP_AFTER: Final = timedelta(days=14)
"""From the first try that failed; then the job is held."""

ATTRIBUTES: Final = ("undelivered_since", "num_undelivered", "waits_for", "held_reason", "next_try_at")
"""Attributes of a job's row that only a complete run has which could not be delivered."""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What one more try that failed makes of a job.

    Attributes:
        since: when the first one failed.
        num_tries: that failed since then.
        next_try_at: before it no worker tries again; None: nobody tries any more.
    """

    since: datetime
    num_tries: int
    next_try_at: datetime | None

    def sets(self, reason: str | None) -> dict[str, Any]:
        """The attributes of the job's row, `ATTRIBUTES`; `reason` is why this try failed."""
        waits = self.next_try_at is not None
        days = GIVEN_UP_AFTER.days
        held_reason = f"its complete run could not be delivered for {days} days; the last try: {reason}"
        return {
            "undelivered_since": iso(self.since),
            "num_undelivered": self.num_tries,
            "next_try_at": iso(self.next_try_at) if self.next_try_at is not None else None,
            "waits_for": reason if waits else None,
            "held_reason": None if waits else held_reason,
        }


def is_held(row: Mapping[str, Any]) -> bool:
    """Whether a job's row is that of a held one, see `Job.is_held`."""
    return row.get("status") == "INTERRUPTED" and bool(row.get("held_reason")) and not row.get("unreadable")


def is_over(row: Mapping[str, Any]) -> bool:
    """Whether a job's row is that of one that nobody goes on with by himself: it has ended, or it is held."""
    return row.get("status") in TERMINAL or is_held(row)


def pause_s(num_tries: int, first_s: int) -> int:
    """Seconds between a try that failed, of so many, and the next: doubled each time, six hours at most."""
    return int(min(first_s * 2 ** min(max(num_tries, 1) - 1, 20), MAX_PAUSE_S))


def after_failed_try(job: Job, now: datetime, first_pause_s: int) -> Undelivered:
    """What becomes of a job whose complete run could not be delivered once more.

    Args:
        job: as it was during the attempt.
        now: the time of day; a first failure that lies in its future was written by a clock that was wrong.
        first_pause_s: see `pause_s`.
    """
    since = min(job.undelivered_since or now, now)
    num_tries = job.num_undelivered + 1
    if now - since >= GIVEN_UP_AFTER:
        return Undelivered(since, num_tries, None)
    return Undelivered(since, num_tries, now + timedelta(seconds=pause_s(num_tries, first_pause_s)))
