"""Waits for what comes at once on an idle machine; a loaded one may take its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

TIMEOUT_S: Final = 600.0
"""Below the limit of a test, so that what did not come is named."""


def wait_for(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Until `condition` holds.

    Raises:
        TimeoutError: it did not in `timeout_s`.
    """
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("the condition did not come")
        time.sleep(0.02)
