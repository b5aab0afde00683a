"""Receipts as labelled words, written as lines of text."""

from __future__ import annotations

from math import prod

from receipt_trainer.extraction.entities import ReadWord

LABELS = {
    "N": "MERCHANT_NAME",
    "A": "ADDRESS_LINE",
    "F": "PHONE_NUMBER",
    "D": "DATE",
    "H": "TIME",
    "P": "PRODUCT_NAME",
    "Q": "QUANTITY",
    "U": "UNIT_PRICE",
    "T": "LINE_TOTAL",
    "S": "SUBTOTAL",
    "X": "TAX",
    "G": "GRAND_TOTAL",
}
HEIGHT = 20.0


def words(text: str, *, score: float = 0.95, reading: float | None = None) -> list[ReadWord]:
    """Words of a receipt: a line of it a line, `P:Bread` a word with a label; leading spaces indent, 10 pixels each."""
    found: list[ReadWord] = []
    for line, row in enumerate(text.strip("\n").splitlines()):
        x = 10.0 * (len(row) - len(row.lstrip()))
        for part in row.split():
            letter, colon, word = part.partition(":")
            label = LABELS.get(letter) if colon else None
            printed = word if label else part
            width = 10.0 * len(printed)
            box = (x, 1.5 * HEIGHT * line, x + width, 1.5 * HEIGHT * line + HEIGHT)
            found.append(ReadWord(len(found), printed, box, line, label or "O", score, reading))
            x += width + 10.0
    return found


def confidence(run: object) -> float:
    """The product of the words' probabilities."""
    return prod(word.score for word in run)  # type: ignore[attr-defined]
