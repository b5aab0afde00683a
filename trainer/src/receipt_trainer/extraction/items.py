"""Line items: the labelled words of a receipt as rows of what was bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import groupby, pairwise
from statistics import median
from typing import Final

from receipt_trainer.extraction.amounts import money, quantity
from receipt_trainer.extraction.entities import ReadWord

NAME: Final = "PRODUCT_NAME"
QUANTITY: Final = "QUANTITY"
UNIT_PRICE: Final = "UNIT_PRICE"
TOTAL: Final = "LINE_TOTAL"
ITEM_LABELS: Final = (NAME, QUANTITY, UNIT_PRICE, TOTAL)

MAX_LINES: Final = 20
"""Of one row."""


@dataclass(frozen=True)
class Line:
    """The item words of a line, in order."""

    words: tuple[ReadWord, ...]

    def of(self, label: str) -> list[ReadWord]:
        """Its words of a label."""
        return [word for word in self.words if word.label == label]

    @cached_property
    def left(self) -> float:
        """Where its name begins, or the line itself."""
        return min(word.box[0] for word in self.of(NAME) or self.words)

    @cached_property
    def height(self) -> float:
        """Of its words, in the unit of the boxes."""
        return median(word.box[3] - word.box[1] for word in self.words)

    @cached_property
    def middle(self) -> float:
        """Of its words, from the top."""
        return median((word.box[1] + word.box[3]) / 2 for word in self.words)

    @cached_property
    def amount(self) -> Decimal | None:
        """Its total, by its largest reading: scale does not matter here."""
        found = money(" ".join(word.text for word in self.of(TOTAL)))
        return max(found.values, key=abs) if found else None

    @cached_property
    def price(self) -> Decimal | None:
        """Its unit price, by the same rule."""
        found = money(" ".join(word.text for word in self.of(UNIT_PRICE)))
        return max(found.values, key=abs) if found else None

    @cached_property
    def count(self) -> Decimal | None:
        """Its quantity, by its smallest reading."""
        found = quantity(" ".join(word.text for word in self.of(QUANTITY)))
        return found.number.values[0] if found else None


def rows(words: Sequence[ReadWord]) -> list[list[ReadWord]]:
    """The words of each line item, in reading order; words of other labels are left out.

    A row is a run of lines: the runs are chosen together, so that the receipt costs least. It costs a row to lack a
    name or a total, to have two of a kind, to span a gap, and when quantity x price is not its total. So
    descriptions of several lines, prices below or above, quantities before or behind are found without being told.
    """
    items = [word for word in words if word.label in ITEM_LABELS]
    lines = [Line(tuple(line)) for _, line in groupby(items, key=lambda word: (word.page, word.line))]
    if not lines:
        return []
    steps = [after.middle - before.middle for before, after in pairwise(lines)]
    step = median(sorted(abs(one) for one in steps)) if steps else 1.0
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(lines) + 1):
        starts = range(max(0, end - MAX_LINES), end)
        best.append(min((best[start][0] + _cost(lines[start:end], step), start) for start in starts))
    found = []
    end = len(lines)
    while end:
        start = best[end][1]
        found.append([word for line in lines[start:end] for word in line.words])
        end = start
    return found[::-1]


def _cost(lines: Sequence[Line], step: float) -> float:
    """Of taking these lines for one row; what the parts of it are worth was tried on CORD's groups."""
    first = next((line for line in lines if line.of(NAME)), None)
    names = [line for line in lines if line.of(NAME)]
    totals = [line.amount for line in lines if line.of(TOTAL)]
    counts = [line.count for line in lines if line.of(QUANTITY)]
    prices = [line.price for line in lines if line.of(UNIT_PRICE)]
    parts = [line for line in lines[1:] if _part(line, first)]
    counted = len(counts) - sum(bool(line.of(QUANTITY)) for line in parts)
    cost = 0.0 if names else 2.0
    cost += (0.7 if prices else 1.5) if not totals else 3.0 * max(0, sum(total != 0 for total in totals) - 1)
    cost += 1.5 * max(0, counted - 1) + 2.0 * max(0, len(prices) - 1)
    for before, line in pairwise(lines):
        if line in parts:
            cost += 0.05
        elif line.of(NAME) and line is not first:
            cost += 0.25 + (1.0 if line.of(TOTAL) else 0.0)
        cost += 0.4 * max(0.0, (line.middle - before.middle) / step - 1.5) if step > 0 else 0.0
    if len(totals) > 1 and any(total is not None and total < 0 for total in totals):
        cost += 3.0  # a discount is a row of its own
    if len(totals) == len(counts) == len(prices) == 1 and None not in (totals[0], counts[0], prices[0]):
        whole = (counts[0] or 0) * (prices[0] or 0) == totals[0]
        cost += -0.5 if whole else 0.5
    return cost


def _part(line: Line, first: Line | None) -> bool:
    """Whether a line stands indented under the name of a row and costs nothing: what is chosen or included."""
    if first is None or line is first or not line.of(NAME) or line.left <= first.left + 0.6 * line.height:
        return False
    return not line.of(TOTAL) or line.amount == 0
