"""Receipts with the errors of OCR."""

from __future__ import annotations

from collections import Counter
from random import Random

from receipt_trainer.data.ocr_errors import CONFUSIONS, misread, with_misread
from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.data.synthetic import generate


def receipts(count: int) -> list[Receipt]:
    return list(generate(count, 3, noise=False))


def test_errors_occur_as_often_as_measured() -> None:
    """Letters are lost and confused about as often; every word has a label of its receipt and a box on the page."""
    before = after = same = letters = 0
    for receipt in receipts(60):
        read = misread(receipt, Random(receipt.key))
        before, after = before + len(receipt.words), after + len(read.words)
        printed, seen = (Counter("".join(word.text for word in one.words)) for one in (receipt, read))
        letters, same = letters + printed.total(), same + (printed & seen).total()
        assert {word.valid_label() for word in read.words} <= {word.valid_label() for word in receipt.words}
        assert all(0 <= word.box[0] < word.box[2] <= 1 and word.text for word in read.words)
    assert 0.005 < 1 - same / letters < 0.04
    assert before != after


def test_a_word_is_split_after_its_colon_and_keeps_its_label() -> None:
    """As our reader does, but not within a time; each part has its share of the box."""
    words = (Word("Date:12/05/2018", (0.1, 0.1, 0.4, 0.12), 0, (WordLabel("DATE"),)),
             Word("10:15", (0.6, 0.1, 0.7, 0.12), 0))  # fmt: skip
    for seed in range(200):
        read = misread(Receipt("id", 1, words), Random(seed))
        if len(read.words) == 3 and {word.text for word in read.words} == {"Date:", "12/05/2018", "10:15"}:
            break
    first, second, _ = read.words
    assert (first.valid_label(), second.valid_label()) == ("DATE", "DATE")
    assert abs(first.box[2] - 0.2) < 0.01
    assert first.box[2] - second.box[0] < 0.01


def test_copies_come_after_the_receipts_and_are_the_same_each_time() -> None:
    """A share of them, under keys of their own; no share, no copy."""
    some = receipts(40)
    with_half = with_misread(some, 0.5, 1)
    assert with_half[:40] == some
    assert 10 < len(with_half) - 40 < 30
    assert len({receipt.key for receipt in with_half}) == len(with_half)
    assert with_misread(some, 0.5, 1) == with_half
    assert with_misread(some, 0.0, 1) == some


def test_what_is_confused_is_another_letter() -> None:
    """No confusion is none, and rates are shares."""
    assert CONFUSIONS
    for letter, (rate, others) in CONFUSIONS.items():
        assert 0 < rate < 0.5
        assert others
        assert letter not in others
