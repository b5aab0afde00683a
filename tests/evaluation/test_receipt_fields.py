"""Whether the values of receipts are right."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from receipt_trainer.contract.predictions import PredictedWord, ReceiptPrediction
from receipt_trainer.evaluation.answers import Prediction
from receipt_trainer.evaluation.documents import evaluate
from receipt_trainer.evaluation.receipt_fields import (
    FieldOutcome,
    acceptance,
    all_right,
    answered_fields,
    count_outcomes,
    read_fields,
)


def _receipt(*lines: Sequence[tuple[str, str, str]], score: float | None = 0.95) -> ReceiptPrediction:
    """Lines of (text, gold, pred); a gold of "?" is of a word that nobody knows."""
    words = [
        PredictedWord(
            text=text, box=(100 * at, 30 * line, 100 * at + 90, 30 * line + 20), line=line,
            gold=pred if gold == "?" else gold, pred=pred, scored=gold != "?", score=score,
        )
        for line, found in enumerate(lines)
        for at, (text, gold, pred) in enumerate(found)
    ]  # fmt: skip
    return ReceiptPrediction(key="k", words=tuple(words))


def _outcomes(receipt: ReceiptPrediction) -> dict[str, str]:
    return {field.name: str(field.outcome) for field in read_fields([receipt])}


def test_values_are_compared_not_words() -> None:
    """A total without its currency sign is right, another date is not; a list is right if all of it is."""
    receipt = _receipt(
        [("CAFE", "MERCHANT_NAME", "MERCHANT_NAME"), ("X", "MERCHANT_NAME", "O")],
        [("2024-01-31", "DATE", "O"), ("2024-02-01", "O", "DATE")],
        [("A", "PRODUCT_NAME", "PRODUCT_NAME"), ("1.20", "LINE_TOTAL", "LINE_TOTAL")],
        [("B", "PRODUCT_NAME", "O"), ("3.30", "LINE_TOTAL", "LINE_TOTAL")],
        [("TOTAL", "O", "O"), ("EUR", "GRAND_TOTAL", "O"), ("4.50", "GRAND_TOTAL", "GRAND_TOTAL")],
        [("0.30", "TAX", "O"), ("4.20", "O", "SUBTOTAL")],
    )
    assert _outcomes(receipt) == {
        "merchant": "wrong", "date": "wrong", "PRODUCT_NAME": "wrong", "LINE_TOTAL": "right", "total": "right",
        "TAX": "missing", "subtotal": "extra",
    }  # fmt: skip


def test_what_nobody_knows_is_not_judged() -> None:
    """Neither a word without a known label, nor a total that reading finds without one where none is labelled."""
    receipt = _receipt([("2024-01-31", "?", "DATE")], [("TOTAL", "O", "O"), ("4.50", "O", "O")])
    assert _outcomes(receipt) == {}


def test_receipts_are_accepted_by_their_least_sure_value() -> None:
    """Of three receipts one is sure and right, one is sure and wrong, one has no total."""
    right = _receipt([("9.90", "GRAND_TOTAL", "GRAND_TOTAL")], score=0.98)
    wrong = _receipt([("9.90", "GRAND_TOTAL", "O"), ("8.80", "O", "GRAND_TOTAL")], score=0.92)
    missing = _receipt([("9.90", "GRAND_TOTAL", "O")])
    fields = list(read_fields([right, wrong, missing]))
    assert [tuple(row) for row in acceptance(fields)] == [(0.5, 3, 2, 1), (0.8, 3, 2, 1), (0.95, 3, 1, 0)]
    assert all_right(fields) == (1, 3)
    assert count_outcomes(fields)["total"][FieldOutcome.RIGHT] == 1
    assert acceptance(read_fields([_receipt([("9.90", "TAX", "TAX")], score=None)])) == []


@pytest.mark.parametrize(("answer", "said"), [('{"date": "02.01.2024"}', "right"), ("no JSON", "missing")])
def test_answers_are_judged_alike(answer: str, said: str) -> None:
    """A date by value; what is null on both sides is no field."""
    gold = '{"date": "2024-01-02", "vendor": {"name": "Cafe"}}'
    evaluation = evaluate([Prediction(id="a", image="a.png", gold=gold, text=answer, seconds=0.1)])
    found = {field.name: str(field.outcome) for field in answered_fields(evaluation.documents)}
    assert found == {"merchant": "missing", "date": said}
