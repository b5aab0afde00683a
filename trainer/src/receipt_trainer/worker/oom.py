"""Whether the system has ended processes for want of memory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_COUNTERS: Final = Path("/proc/vmstat")


def num_oom_kills(counters: Path = _COUNTERS) -> int | None:
    """Processes that the kernel has ended for want of memory since it booted; None where it does not say."""
    try:
        lines = counters.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
    return int(found[0]) if found and found[0].isdecimal() else None
