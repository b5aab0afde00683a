"""What boxes can be meant as, where they cannot be meant as corners in pixels of their page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

Corners = Sequence[float]
"""Four numbers of a source, whatever they mean."""

_MOST: Final = 0.9
_OVER: Final = 1.01
_GRID: Final = 1000
_FEW: Final = 10
_CORNER: Final = 0.34
"""Part of a page in both directions: a receipt that was scanned fills more of it."""
SEVERAL: Final = 3
"""Receipts from which it is no chance that all are odd in one way."""
_LEGIBLE: Final = 5
"""Pixels that the letters of a word have at least, to be read."""


def are_fractions(boxes: Sequence[Corners], width: float, height: float) -> bool:
    """Whether boxes of a page of pixels are parts of it: all within 0..1, and not all whole numbers."""
    values = [value for box in boxes for value in box]
    return (
        bool(values)
        and min(width, height) > 2
        and all(0 <= value <= 1 for value in values)
        and any(value != int(value) for value in values)
    )


def are_percent(boxes: Sequence[Corners], width: float, height: float) -> bool:
    """Whether boxes of a page of pixels are percent of it: all within 0..100, and too low to be read as pixels."""
    values = [value for box in boxes for value in box]
    if len(boxes) < _FEW or min(width, height) < 4 * _LEGIBLE * _FEW or not all(0 <= value <= 100 for value in values):
        return False
    heights = sorted(box[3] - box[1] for box in boxes)
    return max(values) > 1 and 0 < heights[len(heights) // 2] < _LEGIBLE


def is_grid(boxes: Sequence[Corners], width: float, height: float) -> bool:
    """Whether the boxes of a larger page end just below 1000 downwards, and nowhere beyond: LayoutLM's grid?"""
    ends = [max(box[side] for box in boxes) for side in (2, 3)] if boxes else [0.0, 0.0]
    return min(width, height) > 1.05 * _GRID and max(ends) <= _GRID and min(ends) > 0.75 * _GRID


def are_upright(boxes: Sequence[Corners], width: float, height: float) -> bool:
    """Whether most boxes, as parts of a page of that size, are higher than wide: those of longer words are not."""
    upright = sum((box[3] - box[1]) * height > (box[2] - box[0]) * width for box in boxes)
    return len(boxes) >= _FEW and upright > _MOST * len(boxes)


def fit(boxes: Sequence[Corners], width: float, height: float) -> float:
    """The part of the boxes that are top-left and bottom-right corners on a page of that size."""
    good = sum(
        1
        for x0, y0, x1, y1 in boxes
        if -0.01 * width <= x0 < x1 <= _OVER * width and -0.01 * height <= y0 < y1 <= _OVER * height
    )
    return good / len(boxes) if boxes else 0.0


def reach(boxes: Sequence[Corners]) -> float:
    """How far boxes, as parts of their page, reach to the right or down; 1 where they are too few to say."""
    return max(max(box[2:]) for box in boxes) if len(boxes) >= _FEW else 1.0


def short_reach(reaches: Sequence[float]) -> str:
    """A sentence where the boxes of most pages lie within a corner of it: the page is of another scaling; "" if not."""
    short = [each for each in reaches if each <= _CORNER]
    if len(reaches) < SEVERAL or 2 * len(short) <= len(reaches):
        return ""
    return f"boxes reach only to {max(short):.0%} of the page: is its width and height of another scaling?"


def likely_cause(boxes: Sequence[Corners], width: float, height: float) -> str:
    """Why most boxes are not on their page, to follow a sentence; "" if nothing explains it."""
    if fit(boxes, width, height) > _MOST:  # the boxes are not to blame
        return ""
    causes: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: are_fractions(boxes, width, height), "the boxes look like fractions of the page, 0..1"),
        (lambda: are_percent(boxes, width, height), "the boxes look like percent of the page"),
        (
            lambda: fit([(x0, y0, x1, y1) for x0, x1, y0, y1 in boxes], width, height) > _MOST,
            "the boxes look like x0, x1, y0, y1; x0, y0, x1, y1 are needed",
        ),
        (
            lambda: fit([(x0, y0, x1, y1) for x1, y1, x0, y0 in boxes], width, height) > _MOST,
            "the boxes look like x1, y1, x0, y0; x0, y0, x1, y1 are needed",
        ),
        (
            lambda: fit([(x, y, x + w, y + h) for x, y, w, h in boxes], width, height) > _MOST,
            "the boxes look like x, y, width, height; x0, y0, x1, y1 are needed",
        ),
        (
            lambda: fit(boxes, height, width) > _MOST,
            "width and height of the page look swapped (a photo lying on its side)",
        ),
        (lambda: fit(boxes, 1000, 1000) > _MOST, "the boxes look like parts of 1000 (LayoutLM's grid)"),
        (
            lambda: fit([(x, height - y, x1, height - y1) for x, y, x1, y1 in boxes], width, height) > _MOST,
            "the boxes look as if counted from the bottom of the page",
        ),
        (
            lambda: fit(boxes, float("inf"), float("inf")) > _MOST,
            "the boxes look like pixels of a larger image than the page says",
        ),
    )
    for is_so, said in causes:
        if is_so():
            return f": {said}"
    return ""
