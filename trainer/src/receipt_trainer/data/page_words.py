"""Words as they were found on pages, by OCR or in somebody's file, before any model has read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from receipt_trainer.data.receipt import Review, WordLabel

PixelBox = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in pixels of the upright page, origin at the top left."""

Turn = Literal[0, 90, 180, 270]

MIN_OVERLAP: Final = 0.5
"""Of the lower of two words: by so much of it they must overlap vertically to stand in one line."""


@dataclass(frozen=True, slots=True)
class PageWord:
    """A word on a page.

    Attributes:
        line: visual row from 0 at the top; None where the source has no lines.
        confidence: probability that the text is read right, 0..1; None where nobody read it (typed text, say).
        labels: those that the source brings.
        extra: what else the source says of it, carried along.
    """

    text: str
    box: PixelBox
    line: int | None = None
    confidence: float | None = None
    labels: tuple[WordLabel, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PageWords:
    """A page and its words in reading order.

    Attributes:
        number: of the page, from 1.
        width, height: of the upright page, in the unit of the boxes.
        turned: clockwise degrees by which the page as it was given (EXIF applied) was turned to be upright.
        skew: degrees by which lines then still rose to the right; boxes are those of the page as it is shown.
    """

    number: int
    width: float
    height: float
    words: tuple[PageWord, ...]
    turned: Turn = 0
    skew: float = 0.0


@dataclass(frozen=True, slots=True)
class DocumentWords:
    """A document of one or more pages.

    Attributes:
        name: what people call it; no path.
        source: the data set that it belongs to ("" = the user's own), which decides which labels are annotated.
        split: the side of a split that it was stored under, or "".
        image_id, receipt_id: of the receipt that it was before it was exported; "" where it was none.
        extra: what else the source says of it, carried along.
        review: what a person had said of it before it was exported.
    """

    name: str
    pages: tuple[PageWords, ...]
    source: str = ""
    split: str = ""
    image_id: str = ""
    receipt_id: int = 1
    extra: dict[str, Any] = field(default_factory=dict)
    review: Review | None = None


def straightened(page: PageWords) -> list[PixelBox]:
    """The boxes of a page's words as they would be if its lines ran straight across, about the page's middle.

    A box around a word that rises is higher than the word; here it is the word's own again, cut off at the page's edge.
    """
    cos, sin = math.cos(math.radians(page.skew)), math.sin(math.radians(page.skew))
    if not page.skew:
        return [word.box for word in page.words]
    boxes = []
    for x0, y0, x1, y1 in (word.box for word in page.words):
        wide, high = x1 - x0, y1 - y0
        x, y = (x0 + x1 - page.width) / 2, (y0 + y1 - page.height) / 2
        x, y = x * cos - y * sin + page.width / 2, x * sin + y * cos + page.height / 2
        # The box around a rectangle that is turned by an angle has these sides; solved for the rectangle's.
        span = cos * cos - sin * sin
        own_wide, own_high = (wide * cos - high * abs(sin)) / span, (high * cos - wide * abs(sin)) / span
        own_wide, own_high = max(1.0, own_wide), max(1.0, own_high)
        left, right = _within(x - own_wide / 2, x + own_wide / 2, page.width)
        top, bottom = _within(y - own_high / 2, y + own_high / 2, page.height)
        boxes.append((left, top, right, bottom))
    return boxes


def _within(low: float, high: float, size: float) -> tuple[float, float]:
    """An interval cut off at 0 and `size`; what lies outside becomes a pixel at the edge."""
    low = min(max(low, 0.0), size - 1)
    return low, max(low + 1, min(high, size))


def line_numbers(boxes: Sequence[PixelBox]) -> list[int]:
    """The visual row of each box, from 0 at the top.

    A box joins the row whose last box to its left it overlaps vertically by `MIN_OVERLAP` of the lower of both, and
    sideways not at all; so rows may rise or fall across the page, as they do on a photo.
    """
    rows: list[list[int]] = []
    for index in sorted(range(len(boxes)), key=lambda n: (boxes[n][0], boxes[n][1])):
        best, most = None, MIN_OVERLAP
        for row in rows:
            last = boxes[row[-1]]
            overlap = _overlap(last, boxes[index])
            if overlap >= most and last[2] <= boxes[index][0] + 0.5 * (boxes[index][3] - boxes[index][1]):
                best, most = row, overlap
        if best is None:
            rows.append([index])
        else:
            best.append(index)
    rows.sort(key=lambda row: sum(boxes[n][1] + boxes[n][3] for n in row) / len(row))
    numbers = [0] * len(boxes)
    for number, row in enumerate(rows):
        for index in row:
            numbers[index] = number
    return numbers


def _overlap(one: PixelBox, other: PixelBox) -> float:
    shared = min(one[3], other[3]) - max(one[1], other[1])
    lower = min(one[3] - one[1], other[3] - other[1])
    return shared / lower if lower > 0 else 0.0
