"""Arithmetic validity."""

from __future__ import annotations

import pytest

from receipt_trainer.vl.scores.arithmetic import score_arithmetic
from receipt_trainer.vl.scores.share import Share
from tests.vl.documents import ITEMS, document

TOTALS, LINES, ALL = "arithmetic.totals", "arithmetic.lines", "arithmetic.all"


def test_a_document_that_adds_up() -> None:
    """15 + 3 - 1 = 17, and three lines."""
    assert score_arithmetic(document()) == {TOTALS: Share(1, 1), LINES: Share(3, 3), ALL: Share(1, 1)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"grand_total": 17.005}, Share(1, 1)),
        ({"grand_total": 17.01}, Share(0, 1)),
        ({"grand_total": 19.0}, Share(0, 1)),
        ({"discount": None, "grand_total": 18.0}, Share(1, 1)),
        ({"discount": 0, "grand_total": 17.0}, Share(0, 1)),
        ({"currency": "JPY", "grand_total": 17.4}, Share(1, 1)),
        ({"subtotal": "15,00", "grand_total": "$ 17"}, Share(1, 1)),
        ({"subtotal": 0.1, "tax": 0.2, "discount": 0, "grand_total": 0.3}, Share(1, 1)),
        ({"subtotal": None}, None),
        ({"tax": None}, None),
        ({"grand_total": "unreadable"}, None),
    ],
)
def test_totals(changes: dict[str, object], expected: Share | None) -> None:
    """To half a minor unit; a null discount is none; a sum with a missing part is not counted."""
    assert score_arithmetic(document(**changes)).get(TOTALS) == expected


def test_lines() -> None:
    """Wrong lines count, incomplete ones do not."""
    items = [ITEMS[0], ITEMS[1] | {"total": 5.0}, ITEMS[2] | {"quantity": None}, "no row"]
    assert score_arithmetic(document(line_items=items))[LINES] == Share(1, 2)


def test_weighed_goods_are_rounded() -> None:
    """0.333 kg at 2.99 are 0.99567, printed as 1.00."""
    items = [{"description": "Figs", "quantity": 0.333, "unit_price": 2.99, "total": 1.0}]
    assert score_arithmetic(document(line_items=items))[LINES] == Share(1, 1)


def test_all_sums_of_a_document() -> None:
    """A document counts once, however many sums fail; prices with the tax in them are allowed, unlike in the totals."""
    assert score_arithmetic(document(grand_total=99, line_items=[ITEMS[0] | {"total": 9}]))[ALL] == Share(0, 1)
    inclusive = score_arithmetic(document(tax=2.33, grand_total=14.0))
    assert (inclusive[TOTALS], inclusive[ALL]) == (Share(0, 1), Share(1, 1))


def test_nothing_to_check() -> None:
    """No answer is not counted; a document without numbers has no sum, and none that contradicts."""
    assert score_arithmetic(None) == {}
    assert score_arithmetic({}, "gold") == {"gold.all": Share(1, 1)}
