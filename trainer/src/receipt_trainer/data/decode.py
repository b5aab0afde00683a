"""From what a model says of windows to what a word is: one way for training, evaluation, `predict` and `read`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.predictions import PredictedWord, ReceiptPrediction
from receipt_trainer.data.encode import IGNORED, Ints, Words
from receipt_trainer.data.labels import NAMES, LabelSpace

Floats = NDArray[np.float32]

CHANGE: Final = 2.0
"""What it costs, in natural logarithms, that a name begins or ends beside another word of its line (figures in
docs/lab-notes.md)."""


def softmax(logits: Floats) -> Floats:
    """(rows, tags) logits to probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


class WordMeans:
    """The mean of what the views of a word say of its label."""

    def __init__(self, num_words: int, num_labels: int) -> None:
        self._sums: Floats = np.zeros((num_words, 1 + num_labels), dtype=np.float32)
        self._views: Floats = np.zeros(num_words, dtype=np.float32)

    def add(self, tags: Floats, words: Ints) -> None:
        """Count views in.

        Args:
            tags: (views, 1 + 2 * labels) probabilities of `O`, and of B- and I- of each label.
            words: (views,) number of the word that each is of.
        """
        labels = np.concatenate([tags[:, :1], tags[:, 1::2] + tags[:, 2::2]], axis=1)
        np.add.at(self._sums, words, labels)
        np.add.at(self._views, words, 1)

    def mean(self) -> Floats:
        """(words, 1 + labels) of `O` and of each label of the space in order; rows sum to 1."""
        return np.asarray(self._sums / np.maximum(self._views, 1)[:, None], dtype=np.float32)


def whole_lines(
    probabilities: Floats,
    lines: Ints,
    offsets: Sequence[int] | NDArray[np.int64],
    space: LabelSpace,
    cost: float = CHANGE,
) -> Floats:
    """What words are, seen with the others of their lines: a name or an address mostly fills its line.

    The marginals of a chain over each line in which a change of label to or from a name costs something, any
    other nothing (forward-backward, Rabiner 1989).

    Args:
        probabilities: (words, 1 + labels) of each word alone; rows sum to 1.
        lines: (words,) of each word.
        offsets: where receipts begin among the words, and the last ends.
        cost: of such a change, in natural logarithms; 0 leaves each word alone.
    """
    names = [1 + space.labels.index(name) for name in NAMES if name in space.labels]
    edges = np.union1d(np.flatnonzero(np.diff(lines)) + 1, offsets)
    lengths = np.diff(edges)
    longest_first = np.argsort(-lengths, kind="stable")
    starts, lengths = edges[:-1][longest_first], lengths[longest_first]
    if not names or not cost or not len(lengths):
        return probabilities
    weights = np.ones((1 + len(space.labels),) * 2)
    weights[names, :] = weights[:, names] = np.exp(-cost)
    np.fill_diagonal(weights, 1)
    before, after = np.ones(probabilities.shape), np.ones(probabilities.shape)
    steps = [starts[: np.searchsorted(-lengths, -place)] + place for place in range(1, int(lengths[0]))]
    for here in steps:
        before[here] = _shares(before[here - 1] * probabilities[here - 1]) @ weights
    for here in reversed(steps):
        after[here - 1] = _shares(after[here] * probabilities[here]) @ weights
    return np.asarray(_shares(before * probabilities * after), dtype=np.float32)


def _shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return shares


def temper(probabilities: Floats, temperature: float) -> Floats:
    """The words' probabilities with their logarithms divided by a temperature; the likeliest label stays."""
    if temperature == 1:
        return probabilities
    logarithms: Floats = np.log(np.maximum(probabilities, np.float32(1e-30)))
    return softmax(logarithms / np.float32(temperature))


def hide(probabilities: Floats, words: Words, space: LabelSpace) -> Floats:
    """The probabilities in the label space of each receipt's gold.

    A label that the receipt's source does not annotate counts as `O`, as it does in the gold.
    """
    shown = probabilities.copy()
    for row, source in enumerate(words.sources):
        hidden = [1 + space.labels.index(name) for name in space.unannotated(source)]
        span = slice(int(words.offsets[row]), int(words.offsets[row + 1]))
        shown[span, 0] += shown[span][:, hidden].sum(axis=1)
        shown[span, hidden] = 0
    return shown


def choose(probabilities: Floats, words: Words, space: LabelSpace, *, scored: bool = True) -> Ints:
    """(words,) label ids, 0 for `O`.

    Args:
        scored: in the label space of each receipt's gold; see `hide`.
    """
    seen = hide(probabilities, words, space) if scored else probabilities
    return np.asarray(seen.argmax(axis=1), dtype=np.int32)


def receipt_predictions(
    words: Words, probabilities: Floats, labels: Ints, space: LabelSpace
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
                    gold=names[words.gold[n] if words.gold[n] != IGNORED else labels[n]],
                    pred=names[labels[n]],
                    scored=bool(words.gold[n] != IGNORED),
                    score=round(float(probabilities[n, labels[n]]), 4),
                )
                for n in span
            ),
        )
