"""Words judged, receipts ranked, confusions counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from receipt_trainer.contract.predictions import PredictedWord, ReceiptPrediction
from receipt_trainer.contract.run_record import Confusion, LayoutLMRecord
from receipt_trainer.reports.word_errors import (
    WordOutcome,
    confusion_of,
    error_runs,
    judge_word,
    judged,
    largest,
    top_confusions,
    worst_receipts,
)

MakeReceipt = Callable[..., ReceiptPrediction]


@pytest.mark.parametrize(
    ("gold", "pred", "verdict"),
    [
        ("TAX", "TAX", WordOutcome.CORRECT),
        ("O", "O", WordOutcome.OUTSIDE),
        ("TAX", "O", WordOutcome.MISSED),
        ("O", "TAX", WordOutcome.SPURIOUS),
        ("TAX", "SUBTOTAL", WordOutcome.WRONG),
    ],
)
def test_a_word_is_judged_by_gold_and_prediction(gold: str, pred: str, verdict: WordOutcome) -> None:
    """Five cases, three of them errors."""
    word = PredictedWord(text="x", box=(0, 0, 1, 1), line=0, gold=gold, pred=pred)
    assert judge_word(word) is verdict
    assert verdict.is_error == (gold != pred)


def test_worst_receipts_are_ranked_by_their_share_of_wrong_words(make_receipt: MakeReceipt) -> None:
    """By hand: b 2/4, e 1/2 (same share, fewer words), c 30/100, a 2/10; d and f have no error and are left out."""

    def receipt(key: str, size: int, wrong: int) -> ReceiptPrediction:
        return make_receipt(key, [("x", "TAX", "O" if at < wrong else "TAX") for at in range(size)])

    sizes = {"a": (10, 2), "b": (4, 2), "c": (100, 30), "d": (3, 0), "e": (2, 1), "f": (0, 0)}
    found = [receipt(key, *size) for key, size in sizes.items()]
    assert [item.receipt.key for item in worst_receipts(found, 6)] == ["b", "e", "c", "a"]
    assert [item.receipt.key for item in worst_receipts(found, 2)] == ["b", "e"]


def test_neighbours_with_the_same_confusion_are_one_run(make_receipt: MakeReceipt) -> None:
    """Three words a line: a run ends with its line and where the confusion changes."""
    words = [("a", "TAX", "O"), ("b", "TAX", "O"), ("c", "O", "O"), ("d", "TAX", "O"), ("e", "O", "TAX")]
    runs = list(error_runs(judged(make_receipt("k", words))))
    assert [(run.gold, run.pred, run.indexes) for run in runs] == [
        ("TAX", "O", (0, 1)),
        ("TAX", "O", (3,)),
        ("O", "TAX", (4,)),
    ]


def test_a_matrix_that_is_no_square_is_none(record: LayoutLMRecord) -> None:
    """A record of another program may say anything."""
    broken = record.model_copy(update={"confusion": Confusion(labels=["A", "B"], counts=[[1, 2]])})
    assert confusion_of(broken, ()) is None


def test_confusion_from_predictions_has_o_last(record: LayoutLMRecord, receipts: list[ReceiptPrediction]) -> None:
    """Labels in the record's order, O at the end; the counts are those of the eight words."""
    found = confusion_of(record.model_copy(update={"confusion": None}), receipts)
    assert found is not None
    assert found.labels == ["MERCHANT_NAME", "SUBTOTAL", "TAX", "O"]
    assert found.counts == [[2, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 0], [0, 0, 1, 2]]


def test_top_confusions_leave_out_the_diagonal_and_zeros(record: LayoutLMRecord) -> None:
    """Largest first."""
    assert record.confusion is not None
    assert top_confusions(record.confusion, 3) == [("TAX", "SUBTOTAL", 12), ("TAX", "O", 3), ("O", "SUBTOTAL", 2)]


def test_largest_keeps_the_commonest_labels_in_their_order(record: LayoutLMRecord) -> None:
    """Rows plus columns by hand: O 1467, TAX 76, SUBTOTAL 71: the last one goes."""
    assert record.confusion is not None
    kept = largest(record.confusion, 2)
    assert kept.labels == ["TAX", "O"]
    assert kept.counts == [[30, 3], [0, 731]]
