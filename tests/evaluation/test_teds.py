"""TEDS of the table of line items."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.evaluation import teds
from receipt_trainer.evaluation.line_items import COLUMNS, row_of
from receipt_trainer.evaluation.teds import aligned_distance, cell_text, edit_distance, score_table, text_cost
from tests.evaluation.answered import ITEMS, document


def score(gold: list[Any], found: list[Any]) -> float:
    return score_table(document(line_items=gold), document(line_items=found)).value


def test_equal_tables() -> None:
    """1, also with numbers as strings and other case."""
    assert score(ITEMS, ITEMS) == 1.0
    assert score([ITEMS[0]], [{"description": "COFFEE", "quantity": "2", "unit_price": "2,50", "total": "$5"}]) == 1.0


def test_two_empty_tables() -> None:
    """They are equal: 1."""
    assert score([], []) == 1.0


def test_one_empty_table() -> None:
    """Only the root is shared: 1 - 15/16 for three rows of one row node and four cells each."""
    assert score(ITEMS, []) == pytest.approx(1 / 16)
    assert score([], ITEMS[:1]) == pytest.approx(1 / 6)


def test_no_tree_at_all() -> None:
    """An answer that is no JSON scores 0, also where the truth has no rows."""
    assert score_table(document(), None).value == 0.0
    assert score_table(document(line_items=[]), None).value == 0.0


def test_a_missing_and_an_extra_row() -> None:
    """Five nodes of the larger tree's."""
    assert score(ITEMS, ITEMS[1:]) == pytest.approx(1 - 5 / 16)
    assert score(ITEMS[1:], ITEMS) == pytest.approx(1 - 5 / 16)


def test_a_wrong_cell() -> None:
    """Cake for Coke: one of four letters, of 16 nodes; 4 for 44: one of two."""
    changed = [ITEMS[0], ITEMS[1] | {"description": "Coke"}, ITEMS[2]]
    assert score(ITEMS, changed) == pytest.approx(1 - 0.25 / 16)
    assert score(ITEMS, [ITEMS[0], ITEMS[1] | {"total": 44}, ITEMS[2]]) == pytest.approx(1 - 0.5 / 16)


def test_a_null_cell() -> None:
    """Nothing for something costs 1, the whole text."""
    assert score(ITEMS, [ITEMS[0], ITEMS[1] | {"description": None}, ITEMS[2]]) == pytest.approx(1 - 1 / 16)


def test_permuted_rows() -> None:
    """Order counts here. Swapped rows a, b: renaming all cells (1 + 1 + 1 + 1 each) costs 8, moving one row 10."""
    rows: list[dict[str, Any]] = [
        {"description": "aaaa", "quantity": 1, "unit_price": 2, "total": 3},
        {"description": "bbbb", "quantity": 4, "unit_price": 5, "total": 6},
    ]
    assert score(rows, rows[::-1]) == pytest.approx(1 - 8 / 11)


def test_cells_of_other_columns_are_other_nodes() -> None:
    """A number that slips into the next column is two wrong cells."""
    gold = [{"description": "x", "quantity": None, "unit_price": 7, "total": 1}]
    found = [{"description": "x", "quantity": 7, "unit_price": None, "total": 1}]
    assert score(gold, found) == pytest.approx(1 - 2 / 6)


@pytest.mark.parametrize(
    ("first", "second", "cost"), [("", "", 0), ("abc", "", 1), ("kitten", "sitting", 3 / 7), ("flaw", "lawn", 0.5)]
)
def test_the_cost_of_a_text(first: str, second: str, cost: float) -> None:
    """Levenshtein distance over the longer length, both ways."""
    assert text_cost(first, second) == text_cost(second, first) == cost


_ITEM = st.fixed_dictionaries(
    {
        "description": st.sampled_from(["ab", "abc", "xyz", None]),
        "quantity": st.sampled_from([1, 2, None]),
        "unit_price": st.sampled_from([1.5, 15, None]),
        "total": st.sampled_from([1.5, 3, None]),
    }
)
_ITEMS = st.lists(_ITEM, max_size=4)
_SHORT = st.lists(_ITEM, max_size=2)


Forest = tuple[tuple[str, str, Any], ...]


def forest(rows: list[Any]) -> Forest:
    """A table's tree as nested (tag, text, children)."""
    cells = [tuple((name, cell_text(value), ()) for name, value in zip(COLUMNS, row, strict=True)) for row in rows]
    return (("table", "", tuple(("row", "", one) for one in cells)),)


@cache
def size(nodes: Forest) -> int:
    return sum(1 + size(children) for *_, children in nodes)


@cache
def by_definition(first: Forest, second: Forest) -> float:
    """The edit distance of two forests: the last root is deleted, inserted, or turned into the other's."""
    if not first or not second:
        return size(first) + size(second)
    *before, (tag, text, below) = first
    *others, (name, other, under) = second
    renamed = text_cost(text, other) if tag == name else 1.0
    return min(
        by_definition((*before, *below), second) + 1,
        by_definition(first, (*others, *under)) + 1,
        by_definition(tuple(before), tuple(others)) + by_definition(below, under) + renamed,
    )


@settings(max_examples=40)
@given(_SHORT, _SHORT)
def test_the_exact_distance_is_that_of_its_definition(gold: list[Any], found: list[Any]) -> None:
    """As the recurrence over all pairs of forests gives it."""
    rows, others = [row_of(item) for item in gold], [row_of(item) for item in found]
    assert edit_distance(rows, others) == pytest.approx(by_definition(forest(rows), forest(others)))


@settings(max_examples=60)
@given(_ITEMS, _ITEMS)
def test_the_bound_for_long_tables(gold: list[Any], found: list[Any]) -> None:
    """What long tables are scored by is never below the exact distance, and as that it is the same both ways."""
    rows, others = [row_of(item) for item in gold], [row_of(item) for item in found]
    exact = edit_distance(rows, others)
    assert exact == pytest.approx(edit_distance(others, rows))
    assert aligned_distance(rows, others) >= exact - 1e-9
    assert aligned_distance(rows, others) == pytest.approx(aligned_distance(others, rows))


def test_long_tables_say_that_they_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the score is marked as not exact; here both ways agree."""
    gold, found = document(), document(line_items=ITEMS[1:])
    exact = score_table(gold, found)
    monkeypatch.setattr(teds, "MAX_PAIRS", 10)
    bounded = score_table(gold, found)
    assert exact.exact
    assert not bounded.exact
    assert bounded.value == pytest.approx(exact.value)


@settings(max_examples=60)
@given(_ITEMS, _ITEMS)
def test_the_score_is_a_share(gold: list[Any], found: list[Any]) -> None:
    """0..1, and 1 only for equal tables."""
    value = score(gold, found)
    assert 0.0 <= value <= 1.0
    assert (value == 1.0) == ([row_of(item) for item in gold] == [row_of(item) for item in found])
