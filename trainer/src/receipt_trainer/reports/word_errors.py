"""Words judged, receipts ranked, confusions counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.predictions import PredictedWord, ReceiptPrediction
from receipt_trainer.contract.run_record import Confusion, LayoutLMRecord


class WordOutcome(StrEnum):
    """The outcome of a word."""

    CORRECT = "correct"
    OUTSIDE = "outside"  # no entity, and read as none; or not scored
    MISSED = "missed"
    SPURIOUS = "spurious"
    WRONG = "wrong"

    @property
    def is_error(self) -> bool:
        """Whether gold and prediction differ."""
        return self not in (WordOutcome.CORRECT, WordOutcome.OUTSIDE)


def judge_word(word: PredictedWord) -> WordOutcome:
    """Compare prediction and gold label of one word."""
    if not word.scored:
        return WordOutcome.OUTSIDE
    if word.gold == word.pred:
        return WordOutcome.OUTSIDE if word.gold == OUTSIDE else WordOutcome.CORRECT
    if word.pred == OUTSIDE:
        return WordOutcome.MISSED
    return WordOutcome.SPURIOUS if word.gold == OUTSIDE else WordOutcome.WRONG


@dataclass(frozen=True, slots=True)
class JudgedReceipt:
    """A receipt with the verdict of each word."""

    receipt: ReceiptPrediction
    verdicts: tuple[WordOutcome, ...]

    @property
    def num_wrong(self) -> int:
        """Words whose prediction is not their label."""
        return sum(verdict.is_error for verdict in self.verdicts)

    @property
    def wrong_share(self) -> float:
        """Wrong words divided by all words, 0..1."""
        return self.num_wrong / len(self.verdicts) if self.verdicts else 0.0

    def count(self, verdict: WordOutcome) -> int:
        """Words with this verdict."""
        return self.verdicts.count(verdict)

    @property
    def title(self) -> str:
        """Display name of the receipt."""
        return self.receipt.name or self.receipt.key


@dataclass(frozen=True, slots=True)
class ErrorRun:
    """Neighbouring words of one line with the same confusion; `indexes` are positions among the receipt's words."""

    verdict: WordOutcome
    gold: str
    pred: str
    indexes: tuple[int, ...]


def judged(receipt: ReceiptPrediction) -> JudgedReceipt:
    """Judge every word of a receipt."""
    return JudgedReceipt(receipt, tuple(map(judge_word, receipt.words)))


def worst_receipts(predictions: Sequence[ReceiptPrediction], limit: int = 6) -> list[JudgedReceipt]:
    """Receipts with the largest share of wrong words, at least one each; ties by number of wrong words, then key."""
    found = [item for item in map(judged, predictions) if item.num_wrong]
    found.sort(key=lambda item: (-item.wrong_share, -item.num_wrong, item.receipt.key))
    return found[:limit]


def error_runs(item: JudgedReceipt) -> Iterator[ErrorRun]:
    """The errors of a receipt in reading order, neighbours with the same confusion as one."""
    words = item.receipt.words
    by_run = groupby(range(len(words)), key=lambda n: (words[n].line, words[n].gold, words[n].pred))
    for (_, gold, pred), group in by_run:
        indexes = tuple(group)
        if item.verdicts[indexes[0]].is_error:
            yield ErrorRun(item.verdicts[indexes[0]], gold, pred, indexes)


def confusion_of(record: LayoutLMRecord, predictions: Sequence[ReceiptPrediction]) -> Confusion | None:
    """The record's confusion matrix, or one counted from the predictions; None without either or if it is no square."""
    given = record.confusion
    if given is not None:
        size = len(given.labels)
        is_square = len(given.counts) == size and all(len(row) == size for row in given.counts)
        return given if size and is_square else None
    pairs = Counter((word.gold, word.pred) for receipt in predictions for word in receipt.words if word.scored)
    seen = {label for pair in pairs for label in pair}
    labels = [label for label in record.entity_labels if label in seen and label != OUTSIDE]
    labels += [*sorted(seen - set(labels) - {OUTSIDE}), OUTSIDE]
    counts = [[pairs[gold, pred] for pred in labels] for gold in labels]
    return Confusion(labels=labels, counts=counts) if pairs else None


def largest(confusion: Confusion, limit: int) -> Confusion:
    """The same matrix with only the `limit` labels that occur most, in the order they had."""
    size = len(confusion.labels)
    if size <= limit:
        return confusion
    totals = [sum(confusion.counts[n]) + sum(row[n] for row in confusion.counts) for n in range(size)]
    kept = sorted(sorted(range(size), key=lambda n: -totals[n])[:limit])
    return Confusion(
        labels=[confusion.labels[n] for n in kept], counts=[[confusion.counts[a][b] for b in kept] for a in kept]
    )


def top_confusions(confusion: Confusion, limit: int = 10) -> list[tuple[str, str, int]]:
    """(gold, predicted, words) of the commonest confusions, the largest first; ties in the matrix' order."""
    pairs = [
        (gold, pred, confusion.counts[row][column])
        for row, gold in enumerate(confusion.labels)
        for column, pred in enumerate(confusion.labels)
        if row != column and confusion.counts[row][column] > 0
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:limit]
