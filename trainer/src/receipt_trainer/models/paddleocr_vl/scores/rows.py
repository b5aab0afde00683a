"""Which row of an answer's table stands for which row of the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from receipt_trainer.models.paddleocr_vl.scores.values import Normal, normal, rows_of

COLUMNS: Final = ("description", "quantity", "unit_price", "total")

Row = tuple[Normal, ...]
"""A line item's cells in the order of `COLUMNS`, each in its one form."""


MIN_ROWS: Final = 200
"""Rows of an answer that are looked at in any case; twice as many as the truth has are too."""


def most_rows(gold: Mapping[str, Any]) -> int:
    """How many rows of an answer are looked at. Those after them are wrong, whatever they say."""
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
    assignment problem, solved exactly (Hungarian method after Kuhn 1955 with potentials, O(n^3)).
    """
    waiting: dict[Row, list[int]] = defaultdict(list)
    for at in reversed(range(len(found))):
        waiting[found[at]].append(at)
    pairs = [(at, waiting[row].pop()) for at, row in enumerate(gold) if waiting.get(row)]
    left_gold = sorted(set(range(len(gold))) - {pair[0] for pair in pairs})
    left_found = sorted(set(range(len(found))) - {pair[1] for pair in pairs})
    span = 1 + len(gold) + len(found)
    costs = [[_cost(gold[a], found[b], abs(a - b) / span**2) for b in left_found] for a in left_gold]
    pairs += [(left_gold[a], left_found[b]) for a, b in assign(costs)]
    return sorted(pairs)


def _cost(gold: Row, found: Row, distance: float) -> float:
    """Cells that differ. `distance` (all distances together below 1) only decides between equals."""
    return sum(a != b for a, b in zip(gold, found, strict=True)) + distance


def assign(costs: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Pairs (row, column) of a cost matrix with the least sum, as many as its shorter side has."""
    if not costs or not costs[0]:
        return []
    if len(costs) > len(costs[0]):
        return sorted((row, column) for column, row in assign(list(zip(*costs, strict=True))))
    height, width = len(costs), len(costs[0])
    row_potential, column_potential = [0.0] * (height + 1), [0.0] * (width + 1)
    row_at = [0] * (width + 1)  # row that holds a column, from 1; 0: free
    for row in range(1, height + 1):
        row_at[0] = row
        _augment(costs, row_potential, column_potential, row_at)
    return sorted((row_at[column] - 1, column - 1) for column in range(1, width + 1) if row_at[column])


def _augment(
    costs: Sequence[Sequence[float]], row_potential: list[float], column_potential: list[float], row_at: list[int]
) -> None:
    """Give the row in `row_at[0]` a column, moving others along the cheapest path."""
    width = len(column_potential) - 1
    least, came_from, done = [float("inf")] * (width + 1), [0] * (width + 1), [False] * (width + 1)
    column = 0
    while True:
        done[column] = True
        row, delta, following = row_at[column], float("inf"), 0
        for other in range(1, width + 1):
            if done[other]:
                continue
            reduced = costs[row - 1][other - 1] - row_potential[row] - column_potential[other]
            if reduced < least[other]:
                least[other], came_from[other] = reduced, column
            if least[other] < delta:
                delta, following = least[other], other
        for other in range(width + 1):
            if done[other]:
                row_potential[row_at[other]] += delta
                column_potential[other] -= delta
            else:
                least[other] -= delta
        column = following
        if not row_at[column]:
            break
    while column:
        row_at[column] = row_at[came_from[column]]
        column = came_from[column]
