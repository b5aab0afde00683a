"""TEDS of the table of line items: tree edit distance, as tables read from images are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from apted import APTED, Config  # type: ignore[import-untyped]

from receipt_trainer.evaluation.rows import COLUMNS, Normal, Row, most_rows, row_of, rows_of

MAX_PAIRS: Final = 100_000
"""Pairs of nodes (63 rows against 63) up to which the exact distance is taken: seconds in pure Python."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a table's tree. Nodes of other tags cost 1 to turn into another, cells of one column by their text."""

    tag: str
    text: str = ""
    children: tuple[Node, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Teds:
    """The score, 0..1, and whether it is exact; if not, it is a lower bound."""

    value: float
    exact: bool = True


def score_table(gold: Mapping[str, Any], found: Mapping[str, Any] | None) -> Teds:
    """TEDS = 1 - EditDist(Ta, Tb) / max(|Ta|, |Tb|) of the line items of two documents (Zhong et al. 2020).

    A tree is table -> one node a row -> one node a column, with the column's name as its tag and the value in its one
    form as its text. Insertion and deletion of a node cost 1, as does renaming between tags; a cell's text costs its
    Levenshtein distance over the longer length. So two empty tables score 1, an empty one against n rows 1 / (5n + 1).
    An answer that is no JSON has no tree at all: 0. Rows after `most_rows` are deleted, which is never too cheap.
    """
    if found is None:
        return Teds(0.0)
    items, whole = rows_of(found), 1 + len(COLUMNS)
    wanted, got = [row_of(item) for item in rows_of(gold)], [row_of(item) for item in items[: most_rows(gold)]]
    sizes = [1 + whole * len(rows) for rows in (wanted, items)]
    exact = len(got) == len(items) and sizes[0] * sizes[1] <= MAX_PAIRS
    distance = edit_distance(wanted, got) if exact else aligned_distance(wanted, got)
    distance += whole * (len(items) - len(got))
    return Teds(max(0.0, 1.0 - distance / max(sizes)), exact)


def edit_distance(gold: Sequence[Row], found: Sequence[Row]) -> float:
    """Distance of the two trees (APTED, Pawlik & Augsten 2016)."""
    return float(APTED(_tree(gold), _tree(found), _Costs()).compute_edit_distance())


def aligned_distance(gold: Sequence[Row], found: Sequence[Row]) -> float:
    """The least cost of edits that keep rows whole: never below the distance of the trees, and seldom above it."""
    whole = 1 + len(COLUMNS)
    above = [float(whole * at) for at in range(len(found) + 1)]
    for number, row in enumerate(gold, start=1):
        current = [float(whole * number)]
        for at, other in enumerate(found):
            renamed = above[at] + sum(text_cost(_text(a), _text(b)) for a, b in zip(row, other, strict=True))
            current.append(min(above[at + 1] + whole, current[at] + whole, renamed))
        above = current
    return above[-1]


class _Costs(Config):
    """Costs of edits; insertion and deletion cost 1 as in the base."""

    valuecls = float

    def rename(self, node1: Node, node2: Node) -> float:
        """Between tags 1; else the cost of the text."""
        return text_cost(node1.text, node2.text) if node1.tag == node2.tag else 1.0


def _tree(rows: Sequence[Row]) -> Node:
    def cells(row: Row) -> tuple[Node, ...]:
        return tuple(Node(column, _text(value)) for column, value in zip(COLUMNS, row, strict=True))

    return Node("table", children=tuple(Node("row", children=cells(row)) for row in rows))


def _text(value: Normal) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return value or ""


@lru_cache(maxsize=100_000)
def text_cost(first: str, second: str) -> float:
    """Levenshtein distance over the length of the longer text, 0..1; 0 for two empty ones."""
    return levenshtein(first, second) / max(len(first), len(second)) if first != second else 0.0


def levenshtein(first: str, second: str) -> int:
    """The least number of insertions, deletions and substitutions of characters.

    Bit-parallel: a column of the usual matrix is two integers, its steps up and its steps down (Myers 1999, in the form
    of Hyyro 2003).
    """
    if not first:
        return len(second)
    full, last = (1 << len(first)) - 1, 1 << (len(first) - 1)
    places: dict[str, int] = {}
    for at, character in enumerate(first):
        places[character] = places.get(character, 0) | 1 << at
    up, down, distance = full, 0, len(first)
    for character in second:
        equal = places.get(character, 0)
        diagonal = (((equal & up) + up) ^ up) | equal | down
        right_up, right_down = down | (full & ~(diagonal | up)), up & diagonal
        distance += bool(right_up & last) - bool(right_down & last)
        right_up, right_down = (right_up << 1 | 1) & full, right_down << 1 & full
        up, down = right_down | (full & ~(diagonal | right_up)), right_up & diagonal
    return distance
