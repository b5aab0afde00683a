"""Numeric accuracy."""

from __future__ import annotations

import pytest

from receipt_trainer.evaluation.documents import score_numbers
from receipt_trainer.evaluation.ratio import Share
from tests.evaluation.answered import ITEMS, document


def test_a_right_answer() -> None:
    """Five totals and nine cells."""
    assert score_numbers(document(), document()) == {"numeric": Share(14, 14)}


@pytest.mark.parametrize(
    ("currency", "true", "read", "hit"),
    [
        ("EUR", 15.0, 15.005, True),
        ("EUR", 15.0, 15.006, False),
        ("EUR", 15.0, "15,00 €", True),
        (None, 15.0, 14.995, True),
        ("JPY", 1500, 1500.5, True),
        ("JPY", 1500, 1501, False),
        ("KWD", 15.0, 15.0006, False),
        ("KWD", 15.0, 15.0005, True),
        ("EUR", 0.1 + 0.2, 0.3, True),
        ("EUR", 15.0, None, False),
        ("EUR", 15.0, "fifteen", False),
    ],
)
def test_half_a_minor_unit(currency: str | None, true: float, read: object, hit: bool) -> None:
    """Money within half of the true currency's smallest unit is right; a text is read as a number."""
    scores = score_numbers(document(currency=currency, subtotal=true), document(currency="XXX", subtotal=read))
    assert scores["numeric"] == Share(13 + hit, 14)


def test_quantities_and_rates() -> None:
    """They are read to three decimals, whatever the currency."""
    answer = document(tax_rate=20.4)
    answer["line_items"][0] |= {"quantity": 2.0004}
    answer["line_items"][1] |= {"quantity": 1.4}
    assert score_numbers(document(currency="JPY"), answer)["numeric"] == Share(12, 14)


def test_missing_rows_and_permuted_rows() -> None:
    """A missing row misses its three numbers; order does not count; an extra row adds no try."""
    assert score_numbers(document(), document(line_items=ITEMS[:2]))["numeric"] == Share(11, 14)
    assert score_numbers(document(), document(line_items=ITEMS[::-1]))["numeric"] == Share(14, 14)
    assert score_numbers(document(), document(line_items=[*ITEMS, ITEMS[0]]))["numeric"] == Share(14, 14)


def test_no_answer() -> None:
    """All numbers that are there are missed, none is invented."""
    scores = score_numbers(document(discount=None), None)
    assert scores == {"numeric": Share(0, 13), "invented": Share(0, 1)}


def test_invented_numbers() -> None:
    """A number where the truth has none is counted apart; null for null is no invention."""
    gold = document(discount=None, tax_rate=None, line_items=[])
    scores = score_numbers(gold, gold | {"discount": 0})
    assert scores == {"numeric": Share(3, 3), "invented": Share(1, 2)}
