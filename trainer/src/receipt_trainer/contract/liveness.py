"""When an instance counts as silent, and what the stack then writes: limits for the cloud, words for who reads."""

from __future__ import annotations

from typing import Final

HEARTBEAT_LIMIT_S: Final = 900
"""Seconds without a heartbeat. A worker beats every 60 s, also while its training process trains, or hangs."""
BOOT_LIMIT_S: Final = 2700
"""Seconds from the launch to the first heartbeat. A boot ends itself after 1800 s and says why: that comes first."""
LOOK_EVERY_MIN: Final = 5
"""Minutes between two looks at all instances."""
SECOND_LOOK_S: Final = 240
"""Seconds for which a silent instance must stay so after it was first found so; less than the time between looks."""

STATUS_SILENT: Final = "SILENT"
"""State in the instances table of an instance that never registered, after the first look."""
STATUS_LOST: Final = "LOST"
"""State of an instance that the stack ended because it sent no heartbeat."""
