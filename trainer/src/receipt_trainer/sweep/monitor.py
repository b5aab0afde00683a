"""Follows a sweep until all trials have ended, or for so long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from receipt_trainer.sweep.controller import Driver
from receipt_trainer.sweep.trial import Trial

POLL_S: Final = 5.0


def follow(
    driver: Driver,
    show: Callable[[list[Trial]], None],
    *,
    timeout_s: float,
    poll_s: float = POLL_S,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[list[Trial], bool]:
    """Move the sweep on again and again; the trials, and whether all have ended.

    Args:
        show: takes the trials after each look.
        timeout_s: seconds to follow at most.
        poll_s: seconds between two looks.
        monotonic: a clock in seconds.
        sleep: waits so many seconds.
    """
    deadline = monotonic() + timeout_s
    trials = driver.advance()
    show(trials)
    while not driver.is_done(trials) and (left_s := deadline - monotonic()) > 0:
        sleep(min(poll_s, left_s))
        trials = driver.advance()
        show(trials)
    return trials, driver.is_done(trials)
