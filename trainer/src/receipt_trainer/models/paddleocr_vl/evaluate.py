"""Predictions become scores: of each document, and of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from receipt_trainer.data.document import check
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.predictions import Prediction
from receipt_trainer.models.paddleocr_vl.scores.arithmetic import score_arithmetic
from receipt_trainer.models.paddleocr_vl.scores.fields import score_fields
from receipt_trainer.models.paddleocr_vl.scores.numbers import score_numbers
from receipt_trainer.models.paddleocr_vl.scores.parse import read_strictly, read_tolerantly
from receipt_trainer.models.paddleocr_vl.scores.ratio import Share, add_up, one
from receipt_trainer.models.paddleocr_vl.scores.rows import has_too_many_rows
from receipt_trainer.models.paddleocr_vl.scores.teds import score_table

HEADLINES: Final[Mapping[str, str]] = {
    "fields": "field accuracy",
    "presents": "field accuracy, fields that are there",
    "teds": "TEDS of the line items",
    "numeric": "numeric accuracy",
    "arithmetic.totals": "arithmetic validity of totals",
    "arithmetic.lines": "arithmetic validity of lines",
    "arithmetic.all": "answers whose sums all agree",
    "parse": "answers that are JSON",
    "schema": "answers valid by the schema",
    "tolerant.parse": "answers that hold JSON, read tolerantly",
    "tolerant.fields": "field accuracy, read tolerantly",
}
"""The scores of a whole evaluation, with what people call them."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Judged:
    """A document with its scores. `gold` is the truth; `found` the answer as read strictly, None if it is no JSON."""

    prediction: Prediction
    gold: Mapping[str, Any]
    found: Mapping[str, Any] | None
    scores: Mapping[str, Share]
    teds_is_exact: bool

    @property
    def accuracy(self) -> float:
        """Field accuracy of this document, 0..1."""
        return self.scores["fields"].value or 0.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All documents of a test set, in the order of the predictions."""

    documents: Sequence[Judged]

    @property
    def scores(self) -> dict[str, Share]:
        """Each score over all documents: hits and totals are summed (micro average); TEDS is the documents' mean."""
        return add_up(document.scores for document in self.documents)

    def worst(self, limit: int) -> list[Judged]:
        """The documents with the lowest field accuracy that are not perfect, then those with the lowest TEDS."""
        ranked = sorted(self.documents, key=lambda one: (one.accuracy, one.scores["teds"].value or 0.0))
        return [document for document in ranked if not _is_perfect(document)][:limit]


def _is_perfect(document: Judged) -> bool:
    return document.accuracy == 1.0 and document.scores["teds"].value == 1.0


def evaluate(predictions: Iterable[Prediction], progress: Progress | None = None) -> Evaluation:
    """Score predictions.

    Raises:
        UserError: the truth of a prediction is no JSON object.
    """
    listed = list(predictions)
    documents = []
    for done, prediction in enumerate(listed, start=1):
        documents.append(judge(prediction))
        if progress is not None:
            progress(done, len(listed))
    return Evaluation(documents)


def judge(prediction: Prediction) -> Judged:
    """Score one prediction. All scores but `tolerant.*` are of the strict reading of the answer."""
    gold = read_strictly(prediction.gold)
    if gold is None:
        raise UserError(f"prediction of {prediction.id!r}: its gold text is no JSON object; write the predictions anew")
    found = read_strictly(prediction.text)
    tolerant = found if found is not None else read_tolerantly(prediction.text)
    table = score_table(gold, found)
    scores = {
        "parse": one(found is not None),
        "schema": one(found is not None and not has_too_many_rows(gold, found) and not check(found)),
        "teds": Share(table.value, 1.0),
        "tolerant.parse": one(tolerant is not None),
        "tolerant.fields": score_fields(gold, tolerant)["fields"],
    }
    scores |= score_fields(gold, found) | score_numbers(gold, found)
    scores |= score_arithmetic(gold, found) | score_arithmetic(gold, gold, "gold_arithmetic")
    return Judged(prediction, gold, found, scores, table.exact)
