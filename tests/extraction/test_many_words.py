"""A receipt of as many words as one may have is read in a bounded number of steps, whatever its words are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.finds import gather
from receipt_trainer.extraction.summary import read_receipt


def steps(words: list[ReadWord]) -> int:
    """Calls of Python functions that reading takes: they do not depend on the machine."""
    count = 0

    def counted(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(counted)
    try:
        read_receipt(words, gather(words), lambda run: 0.8)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (("GRAND_TOTAL", "SUBTOTAL", "TAX"), lambda n: f"{n % 97}.{n % 100:02d}"),
        (("DATE",), lambda n: f"0{n % 9 + 1}/0{n % 8 + 1}/26"),
        (("PRODUCT_NAME", "QUANTITY", "UNIT_PRICE", "LINE_TOTAL"), lambda n: f"{n}.50"),
        (("O",), lambda n: f"total {n}.{n % 100:02d}"),
    ],
)
def test_four_times_the_words_take_few_times_the_steps(labels: tuple[str, ...], text: Callable[[int], str]) -> None:
    """Of amounts, dates, items and plain words: a quadratic search would take 16 times as many."""

    def words(count: int) -> list[ReadWord]:
        return [
            ReadWord(n, text(n), (n % 4, n // 4, n % 4 + 0.9, n // 4 + 0.9), n // 4, labels[n % len(labels)], 0.8)
            for n in range(count)
        ]

    assert steps(words(400)) < 7 * steps(words(100))
