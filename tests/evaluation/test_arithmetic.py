"""Arithmetic validity."""

from __future__ import annotations

from typing import Any

import pytest

from receipt_trainer.evaluation.documents import score_arithmetic
from receipt_trainer.evaluation.ratio import Share
from tests.evaluation.answered import ITEMS, document

TOTALS, LINES, ALL = "arithmetic.totals", "arithmetic.lines", "arithmetic.all"


def score(answer: dict[str, Any] | None, **truth: Any) -> dict[str, Share]:
    """Scores of an answer to a document with these changes."""
    return score_arithmetic(document(**truth), answer)


def test_a_document_that_adds_up() -> None:
    """15 + 3 - 1 = 17, and three lines."""
    assert score(document()) == {TOTALS: Share(1, 1), LINES: Share(3, 3), ALL: Share(1, 1)}


@pytest.mark.parametrize(
    ("changes", "hit"),
    [
        ({"grand_total": 17.005}, 1),
        ({"grand_total": 17.01}, 0),
        ({"grand_total": 19.0}, 0),
        ({"discount": None, "grand_total": 18.0}, 1),
        ({"discount": 0, "grand_total": 17.0}, 0),
        ({"currency": "JPY", "grand_total": 17.4}, 0),
        ({"subtotal": "15,00", "grand_total": "$ 17"}, 1),
        ({"subtotal": 0.1, "tax": 0.2, "discount": 0, "grand_total": 0.3}, 1),
        ({"subtotal": None}, 0),
        ({"tax": None}, 0),
        ({"grand_total": "unreadable"}, 0),
    ],
)
def test_totals(changes: dict[str, object], hit: int) -> None:
    """To half a minor unit of the true currency; a null discount is none; a part that is left out is a miss."""
    assert score(document(**changes))[TOTALS] == Share(hit, 1)


@pytest.mark.parametrize("name", ["subtotal", "tax", "grand_total"])
def test_totals_that_the_truth_does_not_have(name: str) -> None:
    """They are no try, whatever the answer says."""
    assert TOTALS not in score(document(), **{name: None})


def test_lines() -> None:
    """Wrong lines and incomplete ones miss, in any order; a line that the truth has not whole is no try."""
    items = [ITEMS[2] | {"quantity": None}, ITEMS[1] | {"total": 5.0}, ITEMS[0], "no row"]
    assert score(document(line_items=items))[LINES] == Share(1, 3)
    assert score(document(), line_items=[ITEMS[0] | {"unit_price": None}, *ITEMS[1:]])[LINES] == Share(2, 2)


def test_weighed_goods_are_rounded() -> None:
    """0.333 kg at 2.99 are 0.99567, printed as 1.00."""
    items = [{"description": "Figs", "quantity": 0.333, "unit_price": 2.99, "total": 1.0}]
    assert score(document(line_items=items), line_items=items)[LINES] == Share(1, 1)


def test_all_sums_of_a_document() -> None:
    """A document counts once, however many sums fail; prices with the tax in them are allowed, unlike in the totals."""
    assert score(document(grand_total=99, line_items=[ITEMS[0] | {"total": 9}]))[ALL] == Share(0, 1)
    inclusive = score(document(tax=2.33, grand_total=14.0))
    assert (inclusive[TOTALS], inclusive[ALL]) == (Share(0, 1), Share(1, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"subtotal": None},
        {"tax_rate": None},
        {"discount": None, "grand_total": 18.0},
        {"subtotal": "15,00", "grand_total": "99"},
        {"line_items": ITEMS[:2], "subtotal": None},
        {"line_items": [{**item, "quantity": None} for item in ITEMS]},
    ],
)
def test_leaving_a_part_out_is_no_agreement(changes: dict[str, object]) -> None:
    """An answer that avoids a sum of the truth, by null or by a text, is not among those whose sums agree."""
    assert score(document(**changes))[ALL] == Share(0, 1)


@pytest.mark.parametrize("answer", [None, {}])
def test_an_empty_answer_wins_nothing(answer: dict[str, Any] | None) -> None:
    """No JSON, or an object without a number, misses every sum that the truth has."""
    assert score(answer) == {TOTALS: Share(0, 1), LINES: Share(0, 3), ALL: Share(0, 1)}


def test_nothing_to_check() -> None:
    """A truth without numbers has no sum to try."""
    assert score_arithmetic({}, document()) == {}
    assert score_arithmetic({"grand_total": 3}, {"grand_total": 3}) == {}
