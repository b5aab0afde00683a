"""Curves and bars out of block and line characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

_LEVELS: Final = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """One character a value, between the lowest and the highest; longer series are cut to `width` means.

    Unknown values are blank.
    """
    cells = _means(values, width) if len(values) > width else [_known(value) for value in values]
    known = [cell for cell in cells if cell is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    span = high - low or 1.0
    return "".join(" " if cell is None else _LEVELS[min(7, int(8 * (cell - low) / span))] for cell in cells)


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _means(values: Sequence[float | None], width: int) -> list[float | None]:
    cells: list[float | None] = []
    for at in range(width):
        part = values[at * len(values) // width : (at + 1) * len(values) // width]
        known = [value for value in map(_known, part) if value is not None]
        cells.append(sum(known) / len(known) if known else None)
    return cells


def bar(share: float, width: int) -> str:
    """A thin bar of at most `width` characters for a share 0..1, exact to half a character."""
    halves = round(2 * width * min(1.0, max(0.0, share))) if math.isfinite(share) else 0
    return "━" * (halves // 2) + "╸" * (halves % 2)
