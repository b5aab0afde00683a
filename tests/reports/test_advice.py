"""A run in a few sentences."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from receipt_trainer.contract.predictions import ReceiptPrediction
from receipt_trainer.contract.run_record import Best, Confusion, LayoutLMRecord, PaddleOcrVlRecord, Score, SplitRecord
from receipt_trainer.data import synthetic
from receipt_trainer.data.synthetic.dataset import BOXES_SOURCE
from receipt_trainer.evaluation.receipt_fields import FieldOutcome, ReadField
from receipt_trainer.reports.advice import GENERATED, advise, by_merchant

MakeReceipt = Callable[..., ReceiptPrediction]


def _split(count: int) -> SplitRecord:
    return SplitRecord(seed=0, hash="", validation_keys=[], train_count=9, validation_count=count)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "1 validation receipt: this number is little more than chance."),
        (9, "9 validation receipts: this number is little more than chance."),
        (20, "20 receipts are few: each is 5% of this number."),
        (44, "The kept epoch was chosen on these receipts: expect a little less on new ones."),
    ],
)
def test_few_receipts_are_said_to_be_few(record: LayoutLMRecord, count: int, said: str) -> None:
    """How far to believe the number depends on how many receipts it is from."""
    advice = advise(record.model_copy(update={"split": _split(count)}))
    assert advice.support == said
    assert f"on {count} validation receipt" in advice.score


def test_generated_receipts_are_called_so(record: LayoutLMRecord) -> None:
    """By the sources that were counted; the names are those that the generator gives."""
    assert {synthetic.SOURCE, BOXES_SOURCE} == GENERATED
    sources = {"synthetic": 33, "own": 11}
    counts = {**record.dataset_counts, "validation": {"receipts_by_source": sources}}
    some = advise(record.model_copy(update={"dataset_counts": counts}))
    assert "on 44 validation receipts, 75% of them generated (107 values)." in some.score
    sources.pop("own")
    whole = advise(record.model_copy(update={"dataset_counts": counts}))
    assert whole.score == "F1 0.812 on 44 generated validation receipts (107 values)."
    assert any(step.text.startswith("Generated receipts") for step in whole.steps)


def test_next_steps_come_from_what_went_wrong(record: LayoutLMRecord, make_receipt: MakeReceipt) -> None:
    """Confusions with the words that they are mostly on, rare labels, data left out: the most important first."""
    words = [("€", "TAX", "SUBTOTAL"), ("€", "TAX", "SUBTOTAL"), ("0.52", "TAX", "SUBTOTAL"), ("x", "O", "TAX")]
    counts = {**record.dataset_counts, "train": {"words_by_label": {"TAX": 12, "MERCHANT_NAME": 900}}}
    confusion = Confusion(labels=["TAX", "SUBTOTAL", "O"], counts=[[3, 3, 0], [0, 5, 0], [1, 0, 9]])
    update = {"dataset_counts": counts, "confusion": confusion}
    advice = advise(record.model_copy(update=update), [make_receipt("fine", []), make_receipt("bad", words)])
    assert [(step.text, step.anchor) for step in advice.steps] == [
        ("TAX is read as SUBTOTAL 3x, mostly \u201c€\u201d: are they labelled one way?", "#errors-2"),
        ("Training saw little of TAX (12 words): label more receipts that have it.", "#labels"),
        ("Parts of the data were left out (17 bad box): mend them.", "#problems"),
    ]
    assert [label for label, _ in advice.worst] == ["TAX", "MERCHANT_NAME"]


def test_a_model_that_still_learns_or_has_learned_nothing_is_to_train_longer(record: LayoutLMRecord) -> None:
    """The last epoch was the best by far; no value was found at all."""
    rising = record.model_copy(
        update={"epoch_metrics": record.epoch_metrics[:2], "best": Best(epoch=2, step=20, f1=0.8125)}
    )
    assert advise(rising).steps[0].text == (
        "F1 still rose in the last epoch (0.520 to 0.812): train longer, say --epochs 4."
    )
    nothing = record.model_copy(update={"overall": Score(precision=0, recall=0, f1=0, support=107)})
    assert advise(nothing).steps[0].text.startswith("It has found no value after 30 steps")


def test_a_run_without_a_score_says_so(failed: LayoutLMRecord) -> None:
    """Nothing was evaluated: no number, no worst labels."""
    assert advise(failed) == ("There is no score yet: nothing was evaluated.", "", [], [])


def test_documents_get_the_same_sentences() -> None:
    """A run of the other family: share of fields, few documents, answers that are no JSON, the worst field."""
    record = PaddleOcrVlRecord(
        status="complete", job_name="vl", job_id="x", model="tiny", training_config={}, data_config={},
        vl={"scores": {"field_accuracy": 0.25, "parse_share": 0.5, "documents": 2}},
    )  # fmt: skip
    assert advise(PaddleOcrVlRecord.model_validate(record.model_dump() | {"vl": {}})).steps == []
    fields = [ReadField(at, "date", "2024-01-02", "", FieldOutcome.MISSING) for at in range(2)]
    advice = advise(record, fields=fields)
    assert advice.score == "25% of the fields right on 2 validation documents."
    assert advice.support == "2 validation documents: this number is little more than chance."
    assert [step.text for step in advice.steps] == [
        "Only 2 documents scored: hold out more.",
        "50% of the answers are no JSON: train longer, or allow longer answers.",
        "date is wrong or missing on 2 of 2 documents: train on more like them.",
    ]


def test_merchants_that_training_has_not_seen_are_told_apart(record: LayoutLMRecord) -> None:
    """By the letters of their names; where they are read worse, more merchants are to be labelled."""
    fields = []
    for at in range(8):
        fields.append(ReadField(at, "merchant", "Cafe Uno" if at < 4 else "Bar Due", "x", FieldOutcome.RIGHT))
        fields.append(ReadField(at, "total", "1", "1", FieldOutcome.RIGHT if at < 5 else FieldOutcome.WRONG))
    assert by_merchant(fields, {"THECAFEUNO"}) == [(1, 4), (4, 4)]
    assert by_merchant(fields, ()) == []
    texts = [step.text for step in advise(record, fields=fields, seen={"THECAFEUNO"}).steps]
    assert any("not seen are worse (1 of 4 receipts right, 4 of 4 of the others)" in text for text in texts)
