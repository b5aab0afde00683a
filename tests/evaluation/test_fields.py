"""Field accuracy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.evaluation.documents import score_fields
from receipt_trainer.evaluation.line_items import match_rows
from receipt_trainer.evaluation.ratio import Share
from tests.evaluation.answered import ITEMS, document


def test_a_right_answer() -> None:
    """All 17 scalar fields and 12 cells are hits, in their regions."""
    scores = score_fields(document(), document())
    assert scores["fields"] == scores["presents"] == Share(29, 29)
    assert scores["field_region.header"] == Share(9, 9)
    assert scores["field_region.client"] == Share(3, 3)
    assert scores["field_region.table"] == Share(12, 12)
    assert scores["field_region.totals"] == Share(5, 5)


def test_an_answer_that_is_no_json_misses_all() -> None:
    """Nothing is a hit, not even what is null in the truth."""
    gold = document(client=None, due_date=None)
    scores = score_fields(gold, None)
    assert scores["fields"] == Share(0, 29)
    assert scores["presents"] == Share(0, 25)


def test_null_on_both_sides() -> None:
    """Null for null is a hit of all fields and no try of those that are there."""
    gold = document(client=None, discount=None)
    scores = score_fields(gold, gold)
    assert scores["field_region.client"] == Share(3, 3)
    assert scores["field.discount"] == Share(1, 1)
    assert scores["fields"] == Share(29, 29)
    assert scores["presents"] == Share(25, 25)
    assert "present.discount" not in scores


def test_missing_and_invented_fields() -> None:
    """A missing key reads as null; a value where the truth is null is wrong; unknown keys are not looked at."""
    answer = document(discount=0.5, colour="red")
    del answer["invoice_number"]
    answer["vendor"] = "Blue Café"
    scores = score_fields(document(discount=None), answer)
    assert scores["field.invoice_number"] == Share(0, 1)
    assert scores["field.discount"] == Share(0, 1)
    assert scores["field.vendor.name"] == Share(0, 1)
    assert scores["field_region.header"] == Share(4, 9)
    assert scores["fields"] == Share(29 - 1 - 1 - 4, 29)


def test_spellings_of_the_same() -> None:
    """Numbers as strings, other date forms, case and Unicode forms are hits."""
    answer = document(subtotal="15,00 €", tax="$ 3", date="31.01.2024", invoice_number=" a-17 ")
    answer["vendor"] = {"name": "BLUE CAFE\u0301", "address": "1  high st", "tax_id": "gb 1", "phone": 555}
    scores = score_fields(document(), answer)
    assert scores["field_region.totals"] == Share(5, 5)
    assert scores["field_region.header"] == Share(8, 9)
    assert scores["field.vendor.phone"] == Share(0, 1)


def test_permuted_rows() -> None:
    """The order of rows does not count."""
    assert score_fields(document(), document(line_items=ITEMS[::-1]))["field_region.table"] == Share(12, 12)


def test_a_missing_row() -> None:
    """It misses its four cells."""
    scores = score_fields(document(), document(line_items=ITEMS[1:]))
    assert scores["field_region.table"] == Share(8, 12)
    assert scores["field.line_items.total"] == Share(2, 3)
    assert scores["present_region.table"] == Share(8, 12)


def test_an_extra_row() -> None:
    """It is four misses of all cells; of the cells that are there it is none."""
    extra = {"description": "Tip", "quantity": 1, "unit_price": 1, "total": 1}
    scores = score_fields(document(), document(line_items=[ITEMS[0], extra, *ITEMS[1:]]))
    assert scores["field_region.table"] == Share(12, 16)
    assert scores["present_region.table"] == Share(12, 12)


def test_wrong_and_null_cells() -> None:
    """Cells count one by one; null for null is a hit; rows are paired by what they share."""
    gold = [{"description": "A", "quantity": None, "unit_price": None, "total": 1}, ITEMS[0]]
    answer = [
        {"description": "Coffee", "quantity": 2, "unit_price": "2,50", "total": 6},
        {"description": "A", "total": 1},
    ]
    scores = score_fields(document(line_items=gold), document(line_items=answer))
    assert scores["field_region.table"] == Share(7, 8)
    assert scores["present_region.table"] == Share(5, 6)
    assert scores["field.line_items.total"] == Share(1, 2)


@pytest.mark.parametrize("items", [[], None, "none", {}, [1, "two", None]])
def test_empty_and_broken_tables(items: Any) -> None:
    """No rows on both sides: no try. Rows against none: all missed. Rows that are no objects are no rows."""
    assert "field_region.table" not in score_fields(document(line_items=[]), document(line_items=items))
    assert score_fields(document(), document(line_items=items))["field_region.table"] == Share(0, 12)


def test_rows_are_paired_at_best() -> None:
    """Taking the nearest fitting row first would lose: (a, x) fits both, (a, y) only the first."""
    gold = [("a", "x"), ("a", "y")]
    found = [("a", "z"), ("q", "x")]
    assert match_rows(gold, found) == [(0, 1), (1, 0)]


def test_equal_rows_keep_their_order() -> None:
    """Of rows that fit as well the nearer is taken."""
    rows = [("a",), ("a",), ("b",)]
    assert match_rows(rows, rows) == [(0, 0), (1, 1), (2, 2)]
    assert match_rows([("p",), ("q",)], [("r",), ("s",), ("t",)]) == [(0, 0), (1, 1)]


_CELL = st.sampled_from(["a", "b", None])
_ROWS = st.lists(st.tuples(_CELL, _CELL), max_size=4)


@given(_ROWS, _ROWS)
def test_equal_rows_first_loses_nothing(gold: list[Any], found: list[Any]) -> None:
    """Pairing equal rows first gives as many equal cells as the best pairing of all (all are tried)."""
    from itertools import permutations

    def equal(pairs: Any) -> int:
        return sum(gold[a][cell] == found[b][cell] for a, b in pairs for cell in range(2))

    short, long = sorted((range(len(gold)), range(len(found))), key=len)
    ways = [list(zip(short, way, strict=True)) for way in permutations(long, len(short))]
    if len(gold) > len(found):
        ways = [[(b, a) for a, b in way] for way in ways]
    assert equal(match_rows(gold, found)) == max((equal(way) for way in ways), default=0)
