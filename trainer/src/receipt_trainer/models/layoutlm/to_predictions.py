"""Predictions as people read them: words with gold and predicted label."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.predictions import PredictedWord, ReceiptPrediction
from receipt_trainer.data.examples import Ints, Words
from receipt_trainer.data.labels import LabelSpace


def receipt_predictions(
    words: Words, probabilities: NDArray[np.float32], labels: Ints, space: LabelSpace
) -> Iterator[ReceiptPrediction]:
    """One record a receipt, in order; `score` is the probability of the chosen label."""
    names = (OUTSIDE, *space.labels)
    for row, key in enumerate(words.keys):
        span = range(int(words.offsets[row]), int(words.offsets[row + 1]))
        width, height = (int(size) for size in words.sizes[row])
        yield ReceiptPrediction(
            key=key,
            name=words.names[row],
            source=words.sources[row],
            width=width,
            height=height,
            words=tuple(
                PredictedWord(
                    text=words.texts[n],
                    box=tuple(words.boxes[n].tolist()),
                    line=int(words.lines[n]),
                    gold=names[words.gold[n]],
                    pred=names[labels[n]],
                    score=round(float(probabilities[n, labels[n]]), 4),
                )
                for n in span
            ),
        )
