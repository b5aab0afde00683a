"""The time of day, by AWS's clock where this machine's is wrong: leases of several machines are compared with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import structlog

TOLERANCE_S: Final = 5.0
"""Up to here the machine's own clock is taken: an answer's date has whole seconds, and was some time under way."""

_log = structlog.get_logger(__name__)


def since_boot_s() -> float:
    """Seconds that also pass while the machine sleeps, where the system can tell; no change of the clock moves them."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def machine_time() -> datetime:
    """Now, as this machine's clock says."""
    return datetime.now(UTC)


class ServerTime:
    """The time by the `Date` of AWS's answers; thread-safe. Before the first answer it is this machine's clock."""

    def __init__(
        self, machine: Callable[[], datetime] = machine_time, elapsed: Callable[[], float] = since_boot_s
    ) -> None:
        self._machine, self._elapsed = machine, elapsed
        self._heard: tuple[datetime, float] | None = None
        self._is_wrong = False

    def hear(self, date: str | None) -> None:
        """The `Date` header of an answer of a new answer; an invalid one is ignored."""
        try:
            said = parsedate_to_datetime(date or "")
        except ValueError:
            return
        self._heard = (said if said.tzinfo else said.replace(tzinfo=UTC), self._elapsed())

    def now(self) -> datetime:
        """The time of day in UTC."""
        own, heard = self._machine(), self._heard
        if heard is None:
            return own
        theirs = heard[0] + timedelta(seconds=self._elapsed() - heard[1])
        ahead_s = (own - theirs).total_seconds()
        is_wrong = abs(ahead_s) > TOLERANCE_S
        if is_wrong and not self._is_wrong:
            _log.warning("this machine's clock is wrong; AWS's is used", ahead_s=round(ahead_s))
        self._is_wrong = is_wrong
        return theirs if is_wrong else own


SERVER_TIME: Final = ServerTime()
"""Hears every answer to this process's clients."""


def utc_now() -> datetime:
    """Now, in UTC; see `ServerTime`: rows and leases of several machines are compared."""
    return SERVER_TIME.now()
