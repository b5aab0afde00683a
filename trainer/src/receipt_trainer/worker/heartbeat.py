"""Keeps a claim alive while its job trains: the lease, the message's invisibility and the instance's row, together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from receipt_trainer.aws.server_time import since_boot_s
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.repository import LeaseLost

RETRY_S: Final = 5.0
"""Wait after a beat that failed: the next one must come before the lease ends."""

_log = structlog.get_logger(__name__)


class Beat(Protocol):
    """Actions and recipients of a heartbeat."""

    def renew(self) -> bool:
        """Extend the lease; True if the job's end is asked for. Raises LeaseLost, UserError or WorldError."""

    def extend(self) -> None:
        """Extend what hangs on the lease. Raises UserError or WorldError."""

    def held(self, seconds: float) -> None:
        """The lease is ours for so many seconds."""

    def cancelled(self) -> None:
        """The job's end is asked for; called once."""

    def lost(self, reason: str) -> None:
        """The lease is no longer ours, or may not be; called once, and last."""


class Heartbeat:
    """A thread that beats until it is closed or the lease is lost, the first time after `interval_s`.

    `held_until` is the moment, on `clock`, until which the lease is ours already.
    """

    def __init__(
        self,
        beat: Beat,
        *,
        held_until: float,
        lease_s: float,
        interval_s: float,
        retry_s: float = RETRY_S,
        clock: Callable[[], float] = since_boot_s,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._beat, self._lease_s, self._interval_s, self._retry_s = beat, lease_s, interval_s, retry_s
        self._clock = clock
        self._held_until = held_until
        self._told_cancel = False
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    @property
    def seconds_held(self) -> float:
        """For how long the lease is surely ours; not above 0 if it may be another's."""
        return self._held_until - self._clock()

    def _run(self) -> None:
        pause = self._interval_s
        while not self._wait(min(pause, max(0.0, self.seconds_held))):
            try:
                pause = self._once()
            except LeaseLost as lost:
                self._held_until = 0.0
                self._beat.lost(str(lost))
                return

    def _once(self) -> float:
        """One beat; returns the seconds until the next."""
        began = self._clock()
        try:
            asked = self._beat.renew()
        except (UserError, WorldError) as error:
            if self.seconds_held <= 0:
                raise LeaseLost(f"the lease ended before it could be renewed: {error}") from None
            _log.warning("the lease is not renewed yet", seconds_left=round(self.seconds_held), error=str(error))
            return self._retry_s
        self._held_until = began + self._lease_s
        self._beat.held(self.seconds_held)
        if asked and not self._told_cancel:
            self._told_cancel = True
            self._beat.cancelled()
        try:
            self._beat.extend()
        except (UserError, WorldError) as error:  # the lease is what counts; the next worker is refused by it
            _log.warning("the message is not extended", error=str(error))
        return self._interval_s

    def close(self) -> None:
        """End the thread, after the beat that may be running."""
        self._closed.set()
        self._thread.join()
