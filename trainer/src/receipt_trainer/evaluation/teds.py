"""TEDS of the table of line items: tree edit distance, as tables read from images are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from rapidfuzz.distance import Levenshtein

from receipt_trainer.evaluation.line_items import COLUMNS, Row, most_rows, row_of, rows_of
from receipt_trainer.extraction.values import Normal

MAX_PAIRS: Final = 100_000
"""Pairs of nodes (63 rows against 63) up to which the exact distance is taken: seconds in pure Python."""


class Node(NamedTuple):
    """A node of a table's tree: its tag, its text, and the place in postorder of the leftmost leaf below it.

    Nodes of other tags cost 1 to turn into another, cells of one column by their text.
    """

    tag: str
    text: str
    leftmost: int


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
    """Distance of the two trees (Zhang & Shasha 1989): every pair of subtrees, the smaller ones first."""
    nodes, others = _postorder(gold), _postorder(found)
    distances = [[0.0] * len(others) for _ in nodes]
    for root in _key_roots(nodes):
        for other in _key_roots(others):
            _compare_subtrees(nodes[: root + 1], others[: other + 1], distances)
    return distances[-1][-1]


def _postorder(rows: Sequence[Row]) -> list[Node]:
    nodes: list[Node] = []
    for row in rows:
        first = len(nodes)
        nodes += [
            Node(tag, cell_text(value), first + at) for at, (tag, value) in enumerate(zip(COLUMNS, row, strict=True))
        ]
        nodes.append(Node("row", "", first))
    return [*nodes, Node("table", "", 0)]


def _key_roots(nodes: Sequence[Node]) -> list[int]:
    """The highest node above each leaf that is a leftmost one, in postorder."""
    return sorted({node.leftmost: at for at, node in enumerate(nodes)}.values())


def _compare_subtrees(nodes: Sequence[Node], others: Sequence[Node], distances: list[list[float]]) -> None:
    """Fill in `distances` for the subtrees that begin with the leftmost leaves of the last nodes."""
    start, begin = nodes[-1].leftmost, others[-1].leftmost
    forests = [[float(count) for count in range(len(others) - begin + 1)]]
    for at, node in enumerate(nodes[start:]):
        above, current = forests[-1], [float(at + 1)]
        for place, other in enumerate(others[begin:]):
            cheapest = min(above[place + 1], current[place]) + 1
            if node.leftmost == start and other.leftmost == begin:
                renamed = text_cost(node.text, other.text) if node.tag == other.tag else 1.0
                cheapest = min(cheapest, above[place] + renamed)
                distances[start + at][begin + place] = cheapest
            else:
                before = forests[node.leftmost - start][other.leftmost - begin]
                cheapest = min(cheapest, before + distances[start + at][begin + place])
            current.append(cheapest)
        forests.append(current)


def aligned_distance(gold: Sequence[Row], found: Sequence[Row]) -> float:
    """The least cost of edits that keep rows complete: never below the distance of the trees, and seldom above it."""
    whole = 1 + len(COLUMNS)
    above = [float(whole * at) for at in range(len(found) + 1)]
    for number, row in enumerate(gold, start=1):
        current = [float(whole * number)]
        for at, other in enumerate(found):
            renamed = above[at] + sum(text_cost(cell_text(a), cell_text(b)) for a, b in zip(row, other, strict=True))
            current.append(min(above[at + 1] + whole, current[at] + whole, renamed))
        above = current
    return above[-1]


def cell_text(value: Normal) -> str:
    """A cell's value as the text of its node."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return value or ""


@lru_cache(maxsize=100_000)
def text_cost(first: str, second: str) -> float:
    """Levenshtein distance over the length of the longer text, 0..1; 0 for two empty ones."""
    return Levenshtein.normalized_distance(first, second)
