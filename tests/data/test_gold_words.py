"""Labels of gold words for the words that OCR read."""

from __future__ import annotations

from receipt_trainer.data.gold_words import align
from receipt_trainer.data.receipt import Receipt, Word, WordLabel


def receipt(name: str, *words: tuple[str, float, float, float, str]) -> Receipt:
    """Words as (text, left, right, top, label), a twentieth of the page high."""
    made = tuple(
        Word(text, (x0, y0, x1, y0 + 0.05), 0, (WordLabel(label),) if label else ())
        for text, x0, x1, y0, label in words
    )
    return Receipt("id-" + name, 1, made, name, extra={"fields": {"total": "12.50"}} if name == "gold" else {})


def labels(read: Receipt, gold: Receipt) -> list[str | None]:
    return [word.valid_label() for word in align(read, gold).receipt.words]


def test_words_take_the_labels_of_those_that_stand_there() -> None:
    """Misread, split, joined and garbled words take them; what stands elsewhere or where no gold is takes none."""
    gold = receipt(
        "gold",
        ("CORNER", 0.1, 0.3, 0.1, "MERCHANT_NAME"), ("SHOP", 0.32, 0.5, 0.1, "MERCHANT_NAME"),
        ("TOTAL", 0.1, 0.3, 0.5, ""), ("12.50", 0.7, 0.9, 0.5, "GRAND_TOTAL"),
        ("2025-03-04", 0.1, 0.5, 0.7, "DATE"),
    )  # fmt: skip
    read = receipt(
        "read",
        ("C0RNERSHOP", 0.1, 0.5, 0.11, ""), ("TOTAL", 0.1, 0.31, 0.5, ""), ("12,5O", 0.7, 0.91, 0.49, ""),
        ("2025-", 0.1, 0.3, 0.7, ""), ("%&", 0.3, 0.5, 0.71, ""), ("12.50", 0.7, 0.9, 0.8, ""),
    )  # fmt: skip
    assert labels(read, gold) == ["MERCHANT_NAME", None, "GRAND_TOTAL", "DATE", "DATE", None]


def test_the_receipt_stays_the_gold_one() -> None:
    """Its name, identity and fields are gold's, so that splits and scores are the same; counts say what met."""
    gold = receipt("gold", ("TOTAL", 0.1, 0.3, 0.5, ""), ("12.50", 0.7, 0.9, 0.5, "GRAND_TOTAL"))
    read = receipt("read", ("TOTAL", 0.1, 0.3, 0.5, ""), ("noise", 0.4, 0.5, 0.9, ""))
    aligned = align(read, gold)
    assert (aligned.receipt.key, aligned.receipt.name, aligned.receipt.extra) == (gold.key, "gold", gold.extra)
    assert (aligned.words, aligned.words_met, aligned.gold, aligned.gold_met) == (2, 1, 2, 1)
