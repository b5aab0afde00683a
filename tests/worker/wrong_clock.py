"""A wrong clock for this process: of the time of day, where requests are signed too, or of leases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import botocore.auth

from receipt_trainer.aws import server_time
from receipt_trainer.aws.server_time import since_boot_s


def leap(file: Path) -> Callable[[], float]:
    """Seconds that a lease is counted by: an hour more have passed as soon as the file is there."""
    return lambda: since_boot_s() + (3600.0 if file.exists() else 0.0)


def skew(seconds: float) -> None:
    """From now on the time of day is so far ahead."""

    def now(remove_tzinfo: bool = True) -> datetime:
        found = datetime.now(UTC) + timedelta(seconds=seconds)
        return found.replace(tzinfo=None) if remove_tzinfo else found

    owner: Any = botocore.auth
    assert hasattr(owner, "get_current_datetime")
    owner.get_current_datetime = now
    clock: Any = server_time.SERVER_TIME
    assert hasattr(clock, "_machine")
    clock._machine = partial(now, remove_tzinfo=False)
