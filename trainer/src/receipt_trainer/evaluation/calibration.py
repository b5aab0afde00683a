"""Confidences that mean what they say: fitted on labelled receipts, their error measured on others.

Of words by a temperature (Guo et al. 2017, On Calibration of Modern Neural Networks), of fields by a logistic curve
(Platt 1999) over the log odds of the product of their words' probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar  # type: ignore[import-untyped]

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.package import Calibration
from receipt_trainer.data.decode import Floats, choose, hide, temper
from receipt_trainer.data.encode import IGNORED, Ints, Words
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.extraction.confidence import calibrated, logit, product
from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.finds import field_runs
from receipt_trainer.extraction.values import text

FOLDS: Final = 5
BINS: Final = 15
_LONGEST: Final = 4.0
"""Temperatures from a quarter to this are tried."""
_PRIOR: Final = 1.0
"""Weight, in fields, of the curve that changes nothing: few fields, or all of them right, would fit a step."""


def calibrate(words: Words, probabilities: Floats, space: LabelSpace) -> Calibration:
    """Fit on all receipts; the errors are those on the fifth that each of five fits has not seen.

    Args:
        words: of labelled receipts, in an order that says nothing of them.
        probabilities: (words, 1 + labels) as the model gives them.
    """
    data = _data(words, probabilities, space)
    temperature, slope, offset = _fit(data, np.ones(len(words), dtype=bool))
    of_words: list[tuple[float, bool]] = []
    of_fields: list[tuple[float, bool]] = []
    folds = np.arange(len(words)) % FOLDS
    for fold in range(FOLDS):
        fitted = Calibration(calibrated=True, **dict(zip(_NAMES, _fit(data, folds != fold), strict=True)))
        held_out = folds[data.rows] == fold
        held_out &= words.scored
        seen = _seen(data, fitted.temperature)[held_out]
        right = seen.argmax(axis=1) == words.gold[held_out]
        of_words += zip(seen.max(axis=1).tolist(), right.tolist(), strict=True)
        tempered = temper(probabilities, fitted.temperature)
        of_fields += [
            (calibrated(_product(tempered, field), fitted.field_slope, fitted.field_offset), field.is_right)
            for field in data.fields
            if folds[field.row] == fold
        ]
    return Calibration(
        calibrated=True,
        temperature=temperature,
        field_slope=slope,
        field_offset=offset,
        word_error=calibration_error(of_words),
        field_error=calibration_error(of_fields) if of_fields else None,
    )


_NAMES: Final = ("temperature", "field_slope", "field_offset")


def calibration_error(said: list[tuple[float, bool]]) -> float:
    """Expected calibration error of confidences 0..1 and whether each was right, over bins of equal width."""
    confidence, right = (np.array(column, dtype=np.float64) for column in zip(*said, strict=True))
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=BINS)
    return round(float(np.abs(gaps).sum() / len(said)), 4)


@dataclass(frozen=True, slots=True)
class _Field:
    """A field that the model read; `words` are numbers of the split, `labels` what each of them was read as."""

    row: int
    words: tuple[int, ...]
    labels: tuple[int, ...]
    is_right: bool


@dataclass(frozen=True, slots=True)
class _Data:
    """What is fitted on.

    Attributes:
        rows: (words,) receipt of each word.
        hidden: (words, 1 + labels) labels that the receipt's source does not annotate.
    """

    probabilities: Floats
    gold: Ints
    rows: NDArray[np.int64]
    hidden: NDArray[np.bool_]
    fields: list[_Field]


def _data(words: Words, probabilities: Floats, space: LabelSpace) -> _Data:
    rows = np.repeat(np.arange(len(words)), np.diff(words.offsets))
    hidden = hide(np.ones_like(probabilities), words, space) == 0
    chosen = choose(probabilities, words, space)
    fields = [field for row in range(len(words)) for field in _fields(words, row, chosen, probabilities, space)]
    return _Data(probabilities, words.gold, rows, hidden, fields)


def _fields(words: Words, row: int, chosen: Ints, probabilities: Floats, space: LabelSpace) -> list[_Field]:
    """The fields that were read on a receipt, as `read` puts them together: right where gold has one of that text.

    Of a field with a word that is not scored nobody knows it.
    """
    names = (OUTSIDE, *space.labels)

    def read(labels: Ints, scores: Floats) -> Iterator[tuple[tuple[str, str | None], tuple[int, ...]]]:
        span = range(int(words.offsets[row]), int(words.offsets[row + 1]))
        box = (0.0, 0.0, 0.0, 0.0)
        for label, run in field_runs(
            [
                ReadWord(n, words.texts[n], box, int(words.lines[n]), names[int(labels[n])], float(scores[n]))
                for n in span
            ]
        ):
            yield (label, text(" ".join(word.text for word in run))), tuple(word.number for word in run)

    known = np.where(words.scored, words.gold, 0)
    gold = {field for field, _ in read(known, np.ones(len(known), dtype=np.float32))}
    return [
        _Field(row, numbers, tuple(int(chosen[number]) for number in numbers), field in gold)
        for field, numbers in read(chosen, probabilities[np.arange(len(chosen)), chosen])
        if words.scored[list(numbers)].all()
    ]


def _seen(data: _Data, temperature: float) -> Floats:
    """Tempered probabilities in the label space of the gold."""
    tempered = temper(data.probabilities, temperature)
    seen = np.where(data.hidden, np.float32(0), tempered)
    seen[:, 0] += np.where(data.hidden, tempered, np.float32(0)).sum(axis=1)
    return seen


def _product(tempered: Floats, field: _Field) -> float:
    return product([float(tempered[at]) for at in zip(field.words, field.labels, strict=True)])


def _fit(data: _Data, receipts: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Temperature, slope and offset from some of the receipts."""
    members = receipts[data.rows] & (data.gold != IGNORED)

    def loss(logarithm: float) -> float:
        seen = _seen(data, float(np.exp(logarithm)))[members]
        of_gold = seen[np.arange(len(seen)), data.gold[members]]
        return -float(np.log(np.maximum(of_gold, 1e-30)).mean())

    best = minimize_scalar(
        loss, bounds=(-np.log(_LONGEST), np.log(_LONGEST)), method="bounded", options={"xatol": 1e-5}
    )
    temperature = round(float(np.exp(best.x)), 4)
    tempered = temper(data.probabilities, temperature)
    fields = [field for field in data.fields if receipts[field.row]]
    odds = np.array([logit(_product(tempered, field)) for field in fields])
    return temperature, *_logistic(odds, np.array([field.is_right for field in fields], dtype=np.float64))


def _logistic(odds: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and offset, drawn to 1 and 0; slopes that turn confidences around are not taken."""

    def loss(point: NDArray[np.float64]) -> float:
        said = point[0] * odds + point[1]
        prior = _PRIOR / 2 * float((point[0] - 1) ** 2 + point[1] ** 2)
        return float((np.logaddexp(0, said) - right * said).sum()) + prior

    slope, offset = (round(float(value), 4) for value in minimize(loss, (1.0, 0.0), tol=1e-9).x)
    return (slope, offset) if slope > 0 else (1.0, 0.0)
