"""Which row of an answer's table stands for which row of the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

from receipt_trainer.extraction.values import Normal, normal


def rows_of(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The line items that are objects; none where `line_items` is no list."""
    items = document.get("line_items")
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


COLUMNS: Final = ("description", "quantity", "unit_price", "total")

Row = tuple[Normal, ...]
"""A line item's cells in the order of `COLUMNS`, each in its one form."""


MIN_ROWS: Final = 200
"""Rows of an answer that are looked at in any case; twice as many as the truth has are too."""


def most_rows(gold: Mapping[str, Any]) -> int:
    """How many rows of an answer are looked at. Those after them count as wrong."""
    return max(MIN_ROWS, 2 * len(rows_of(gold)))


def has_too_many_rows(gold: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether an answer repeats itself: its table has more entries than are looked at."""
    items = found.get("line_items")
    return isinstance(items, list) and len(items) > most_rows(gold)


def row_of(item: Mapping[str, Any]) -> Row:
    """The cells of a line item; what is missing is None."""
    return tuple(normal(column, item.get(column)) for column in COLUMNS)


def match_rows(gold: Sequence[Row], found: Sequence[Row]) -> list[tuple[int, int]]:
    """Pairs (gold row, found row), each row at most once, with the most equal cells in all; order does not count.

    As many pairs as the shorter table has rows, in the order of gold. Of two rows that fit as well the one that is
    nearer in the table is taken. Equal rows are paired first, which no best pairing can beat; the rest is the
    assignment problem, solved exactly.
    """
    waiting: dict[Row, list[int]] = defaultdict(list)
    for at in reversed(range(len(found))):
        waiting[found[at]].append(at)
    pairs = [(at, waiting[row].pop()) for at, row in enumerate(gold) if waiting.get(row)]
    left_gold = sorted(set(range(len(gold))) - {pair[0] for pair in pairs})
    left_found = sorted(set(range(len(found))) - {pair[1] for pair in pairs})
    span = 1 + len(gold) + len(found)
    if left_gold and left_found:
        costs = [[_cost(gold[a], found[b], abs(a - b) / span**2) for b in left_found] for a in left_gold]
        rows, columns = linear_sum_assignment(costs)
        pairs += [(left_gold[a], left_found[b]) for a, b in zip(rows.tolist(), columns.tolist(), strict=True)]
    return sorted(pairs)


def _cost(gold: Row, found: Row, distance: float) -> float:
    """Cells that differ. `distance` (all distances together below 1) only decides between equals."""
    return sum(a != b for a, b in zip(gold, found, strict=True)) + distance
