"""The input of a package's model: windows one after the other, and two rectangles in which attention runs.

Linear layers, norms and embeddings work on real tokens only. Attention runs over a rectangle of the short windows, the
lines of a receipt as a rule, and one of the long ones; each window is a row, padded to the longest of its rectangle.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from receipt_trainer.data.encode import Examples, Ints

RECTANGLES: Final = ("short", "long")
PADDED: Final = np.float32(-1e9)
"""Added to the score of a key where no token is: its share of the attention becomes exactly 0."""


def feed(examples: Examples, numbers: Ints) -> dict[str, NDArray[Any]]:
    """The model's inputs for some windows, each of which owns a word at least.

    Returns:
        input_ids, position_ids: (tokens,); positions begin at 0 in every window.
        bbox: (tokens, 4) on the 0..1000 grid.
        short_gather, long_gather: (rows, length) number of the token at each place of the rectangle.
        short_bias, long_bias: (rows, 1, 1, length) 0, or `PADDED` where no token is.
        inverse: (tokens,) place of each token in both rectangles, one after the other.
        select: (owned words,) tokens that are the first of an owned word.
        selected: (owned words,) the places of those.
    """
    lengths = examples.lengths[numbers]
    ends = np.cumsum(lengths)
    positions = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    places = positions + np.repeat(examples.offsets[numbers], lengths)
    select = np.flatnonzero(examples.words[places] >= 0).astype(np.int32)
    rectangles, inverse = _rectangles(lengths)
    return {
        "input_ids": examples.input_ids[places],
        "position_ids": positions.astype(np.int32),
        "bbox": examples.bbox[places],
        "select": select,
        "selected": inverse[select],
        "inverse": inverse,
        **rectangles,
    }


def _rectangles(lengths: NDArray[np.int64]) -> tuple[dict[str, NDArray[Any]], Ints]:
    starts = np.cumsum(lengths) - lengths
    border = _border(lengths)
    inverse = np.zeros(int(lengths.sum()), dtype=np.int32)
    found: dict[str, NDArray[Any]] = {}
    before = 0
    for name, members in zip(RECTANGLES, (lengths <= border, lengths > border), strict=True):
        rows = np.flatnonzero(members)
        if len(rows):
            steps = np.arange(lengths[rows].max())
            inside = steps < lengths[rows, None]
            gather = np.where(inside, starts[rows, None] + steps, starts[rows, None])
            inverse[gather[inside]] = before + np.flatnonzero(inside)
        else:  # all windows are about as long: one token, whose result nobody takes
            inside, gather = np.ones((1, 1), dtype=bool), np.zeros((1, 1), dtype=np.int64)
        found[f"{name}_gather"] = gather.astype(np.int32)
        found[f"{name}_bias"] = np.where(inside, np.float32(0), PADDED)[:, None, None, :]
        before += gather.size
    return found, inverse


def _border(lengths: NDArray[np.int64]) -> int:
    """The longest of the short windows: where both rectangles together have the fewest pairs of places."""
    ordered = np.sort(lengths)
    short = np.arange(len(ordered) + 1)  # rows of the short rectangle
    longest = np.concatenate([[0], ordered])
    best = int(np.argmin(short * longest**2 + (len(ordered) - short) * ordered[-1] ** 2))
    return int(longest[best])
