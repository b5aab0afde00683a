"""Whether the values of a receipt are right, as a user asks: on how many receipts is the total?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from math import exp, prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.package import Calibration, PackageManifest
from receipt_trainer.contract.predictions import ReceiptPrediction
from receipt_trainer.data.document import FIELDS, TABLE, at
from receipt_trainer.extraction.confidence import field_confidence, logit
from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.finds import Find, gather
from receipt_trainer.extraction.summary import Reading, read_receipt
from receipt_trainer.extraction.values import normal, text

if TYPE_CHECKING:
    from receipt_trainer.evaluation.documents import ScoredDocument

KEYS: Final = ("merchant", "date", "total")
"""What most users want of a receipt."""
CHOSEN: Final = {"MERCHANT_NAME": "merchant", "DATE": "date", "GRAND_TOTAL": "total", "SUBTOTAL": "subtotal"}
"""Labels of which a reading chooses one value."""
_OF_DOCUMENTS: Final = {"vendor.name": "merchant", "grand_total": "total"}
THRESHOLDS: Final = ((0.5, 0.8, 0.95), (0.1, 0.3, 0.5))
"""Confidences to accept at; the second ones where no receipt reaches the middle one of the first."""


class FieldOutcome(StrEnum):
    """The outcome of a field of one receipt."""

    RIGHT = "right"
    WRONG = "wrong"
    MISSING = "missing"
    EXTRA = "extra"  # the receipt has none


class ReadField(NamedTuple):
    """A field of one receipt.

    Attributes:
        receipt: number of the receipt among those that were read.
        name: one of `KEYS`, or subtotal; else the label, of which all values of the receipt are compared.
        truth, read: as people write them; "" for nothing.
        confidence: probability that the value is right, where one is chosen and its words have scores.
    """

    receipt: int
    name: str
    truth: str
    read: str
    outcome: FieldOutcome
    confidence: float | None = None


def read_fields(receipts: Iterable[ReceiptPrediction], manifest: PackageManifest | None = None) -> Iterator[ReadField]:
    """The fields of receipts, read from what the model said of their words and from their labels alike.

    Args:
        manifest: of the model's package: how it reads dates and amounts, and its calibration.
    """
    for number, receipt in enumerate(receipts):
        gold = _reading(receipt, manifest, is_gold=True)
        pred = _reading(receipt, manifest, is_gold=False)
        has_scores = all(word.score is not None for word in receipt.words)
        for label in dict.fromkeys((*gold.fields, *pred.fields)):
            name = CHOSEN.get(label, label)
            truth = [find for find in _finds(gold, label) if find.words[0].label == label]
            read = _finds(pred, label)
            if not truth and not any(find.words[0].label == label for find in read):
                continue  # found in words without a label, and nobody knows whether it is there
            confidence = read[0].confidence if has_scores and len(read) == 1 and name != label else None
            outcome = _outcome([_form(find) for find in truth], [_form(find) for find in read])
            yield ReadField(number, name, _said(truth), _said(read), outcome, confidence)


def _reading(receipt: ReceiptPrediction, manifest: PackageManifest | None, *, is_gold: bool) -> Reading:
    calibration = manifest.calibration if manifest else Calibration()
    words = []
    for number, word in enumerate(receipt.words):
        label, score = (word.gold, 1.0) if is_gold else (word.pred, 1.0 if word.score is None else word.score)
        known = label if word.scored else OUTSIDE
        words.append(ReadWord(number, word.text, word.box, word.line, known, _tempered(score, calibration)))
    evidence = gather(
        words,
        learned=manifest.date_orders if manifest else None,
        marks=manifest.amount_marks if manifest else None,
    )

    def confidence(run: Sequence[ReadWord]) -> float:
        scores = [word.score for word in run]
        return prod(scores) if is_gold else field_confidence(scores, [None] * len(scores), calibration)

    return read_receipt(words, evidence, confidence)


def _tempered(score: float, calibration: Calibration) -> float:
    """A word's probability with the temperature, as if only one other label had the rest."""
    return 1 / (1 + exp(-logit(score) / calibration.temperature)) if calibration.calibrated else score


def _finds(reading: Reading, label: str) -> list[Find]:
    """The find that was chosen of a label, or all."""
    found = list(reading.fields.get(label, ()))
    if label not in CHOSEN:
        return found
    chosen = reading.chosen.get(CHOSEN[label])
    return [chosen] if chosen is not None else found[:1]


def _form(find: Find) -> object:
    """Equal for equal values: amounts and numbers by value, dates by day, texts without case and spacing."""
    if find.amount is not None:
        return find.amount
    return text(find.text) if find.value is None else text(find.value)


def _said(finds: Sequence[Find]) -> str:
    """The values of finds as people write them."""
    return ", ".join(
        find.text if find.value is None else str(find.value if find.amount is None else find.amount) for find in finds
    )


def _outcome(truth: Sequence[object], read: Sequence[object]) -> FieldOutcome:
    if not truth:
        return FieldOutcome.EXTRA
    if not read:
        return FieldOutcome.MISSING
    return FieldOutcome.RIGHT if Counter(truth) == Counter(read) else FieldOutcome.WRONG


def answered_fields(documents: Iterable[ScoredDocument]) -> Iterator[ReadField]:
    """The same of documents that were answered as JSON; what is null on both sides is no field."""
    for number, document in enumerate(documents):
        found = document.found or {}
        for name in (name for names in FIELDS.values() for name in names):
            (truth, told), (read, said) = (_answered(name, one) for one in (document.gold, found))
            if truth or read:
                yield ReadField(number, _OF_DOCUMENTS.get(name, name), told, said, _outcome(truth, read))


def _answered(name: str, answer: Mapping[str, Any]) -> tuple[list[object], str]:
    """The one forms of a field's values, none of null; and the value as people write it."""
    from receipt_trainer.evaluation.line_items import row_of, rows_of  # takes SciPy

    if name == TABLE:
        rows: list[object] = [row_of(item) for item in rows_of(answer)]
        return rows, f"{len(rows)} rows" if rows else ""
    value = at(answer, name)
    one = normal(name, value)
    return [] if one is None else [one], "" if value is None else str(value)


def count_outcomes(fields: Iterable[ReadField]) -> dict[str, Counter[FieldOutcome]]:
    """Receipts by outcome of each field: `KEYS` first, then as they come."""
    found: dict[str, Counter[FieldOutcome]] = {name: Counter() for name in KEYS}
    for field in fields:
        found.setdefault(field.name, Counter())[field.outcome] += 1
    return {name: counts for name, counts in found.items() if counts}


class Acceptance(NamedTuple):
    """What happens if nobody looks at receipts whose values of `KEYS` are all at least so sure.

    Attributes:
        threshold: confidence, 0..1.
        tried: receipts that have such values.
        accepted: those of them whose values are all sure enough.
        wrong: accepted ones with a value that is not right.
    """

    threshold: float
    tried: int
    accepted: int
    wrong: int


def acceptance(fields: Iterable[ReadField]) -> list[Acceptance]:
    """For three confidences; empty where none are known."""
    by_receipt: dict[int, list[ReadField]] = {}
    for field in fields:
        if field.name in KEYS:
            by_receipt.setdefault(field.receipt, []).append(field)
    if not any(field.confidence is not None for found in by_receipt.values() for field in found):
        return []
    sure = [min(field.confidence or 0.0 for field in found) for found in by_receipt.values()]
    right = [all(field.outcome is FieldOutcome.RIGHT for field in found) for found in by_receipt.values()]
    rows = []
    for threshold in THRESHOLDS[max(sure) < THRESHOLDS[0][1]]:
        accepted = [is_right for least, is_right in zip(sure, right, strict=True) if least >= threshold]
        rows.append(Acceptance(threshold, len(sure), len(accepted), accepted.count(False)))
    return rows


def all_right(fields: Iterable[ReadField], names: Sequence[str] = KEYS) -> tuple[int, int]:
    """Receipts on which all of these fields that they have are right, and receipts that have any."""
    right: dict[int, bool] = {}
    for field in fields:
        if field.name in names and field.outcome is not FieldOutcome.EXTRA:
            right[field.receipt] = right.get(field.receipt, True) and field.outcome is FieldOutcome.RIGHT
    return sum(right.values()), len(right)
