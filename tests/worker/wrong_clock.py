"""A wrong clock for this process: where requests are signed, and where the product asks for the time of day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import botocore.auth

from receipt_trainer.aws import server_time


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
