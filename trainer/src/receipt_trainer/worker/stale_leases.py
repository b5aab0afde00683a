"""Leases that no right clock can have written: whose worker is gone, nobody would wait for them for hours.

What counts is not the clock but whether the lease moves: a worker that lives renews it every minute, whatever its clock
says. One that lies too far ahead, and has not moved for as long as any lease lasts, is broken by the next claim.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from receipt_trainer.jobs.lifecycle import is_impossible


class StaleLeases:
    """What one worker has seen of them."""

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
        """The lease of the job that nobody has renewed for too long, if it is still that one; None: there is none."""
        lease, since = self._seen.get(job_id, (None, 0.0))
        return lease if lease is not None and self._clock() - since > self._lease_s else None
