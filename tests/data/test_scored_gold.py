"""Gold labels as they are scored, where a source annotates only some labels."""

from __future__ import annotations

from receipt_trainer.data.encode import words_of
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.data.receipt import Receipt, Word, WordLabel


def _receipt(source: str) -> Receipt:
    words = tuple(
        Word(text, (0.1, 0.1, 0.2, 0.2), 0, (WordLabel(label),))
        for text, label in (("3.99", "GRAND_TOTAL"), ("1/2/24", "DATE"))
    )
    return Receipt("image", 1, words, source=source)


def test_a_label_that_is_hidden_from_predictions_is_hidden_from_gold() -> None:
    """SROIE annotates one of the labels behind AMOUNT: its predictions count as O, so its gold must too."""
    merged = LabelSpace(("DATE", "AMOUNT"), merge_amounts=True)
    assert words_of([_receipt("sroie"), _receipt("mine")], merged).gold.tolist() == [0, 1, 2, 1]


def test_a_label_that_is_annotated_stays() -> None:
    """Without merging, SROIE's totals are scored."""
    assert words_of([_receipt("sroie")], LabelSpace(("DATE", "GRAND_TOTAL", "TAX"))).gold.tolist() == [2, 1]
