"""Labelled words are put into the rows that people see."""

from __future__ import annotations

import pytest

from receipt_trainer.extraction.items import rows
from tests.extraction.receipts import words

RECEIPTS = {
    "one line each": ("Q:1 P:Egg P:Tart T:3.00\nQ:2 P:Tea T:4.00", [[0, 1, 2, 3], [4, 5, 6]]),
    "prices below": ("P:Egg P:Tart\nQ:1 U:3.00 T:3.00\nP:Tea\nQ:2 U:2.00 T:4.00", [[0, 1, 2, 3, 4], [5, 6, 7, 8]]),
    "prices above": ("Q:1 T:3.00\nP:Egg P:Tart\nQ:2 T:4.00\nP:Tea", [[0, 1, 2, 3], [4, 5, 6]]),
    "a long name goes on, indented": ("P:Egg T:3.00\n  P:Tart\nP:Tea T:4.00", [[0, 1, 2], [3, 4]]),
    "quantity behind": ("P:Egg Q:1 T:3.00\nP:Tea Q:2 T:4.00", [[0, 1, 2], [3, 4, 5]]),
    "below for one only": (
        "Q:1 P:Egg T:9.00\nQ:2 P:Maling\nU:12000 T:24000\nQ:1 P:Nasi T:6.00",
        [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9]],
    ),
    "parts of a menu": (
        "Q:1 P:Menu T:9.00\n  Q:1 P:Tea\n  Q:1 P:Cake\nQ:1 P:Egg T:3.00",
        [[0, 1, 2, 3, 4, 5, 6], [7, 8, 9]],
    ),
    "a discount is its own": ("P:Egg T:3.00\nP:Discount T:-1.00\nP:Tea T:4.00", [[0, 1], [2, 3], [4, 5]]),
    "none": ("N:Shop\nG:3.00", []),
}


@pytest.mark.parametrize("name", RECEIPTS)
def test_rows(name: str) -> None:
    """Descriptions of several lines, prices below and above, quantities before and behind, discounts."""
    text, expected = RECEIPTS[name]
    assert [[word.number for word in row] for row in rows(words(text))] == expected
