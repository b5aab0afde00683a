"""Cutting a receipt into the pieces a model sees: the same for training and for inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from receipt_trainer.data.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Window:
    """Words `start`..`stop` of a receipt go in; of these, `own_start`..`own_stop` are labelled from this window."""

    start: int
    stop: int
    own_start: int
    own_stop: int


def cut(
    receipt: Receipt, lengths: Sequence[int], kind: Literal["line", "receipt"], budget: int, overlap: int
) -> list[Window]:
    """Windows of a receipt; every word is owned by exactly one of them.

    Args:
        receipt: in reading order.
        lengths: sub-tokens of each word, none above `budget`.
        kind: one piece a line, or the whole receipt as one piece.
        budget: sub-tokens that fit into a window, [CLS] and [SEP] not counted.
        overlap: sub-tokens that neighbouring windows of a piece too long for one share at most.
    """
    pieces = [len(words) for words in receipt.lines()] if kind == "line" else [len(receipt.words)]
    windows: list[Window] = []
    start = 0
    for size in filter(None, pieces):  # a receipt without words has no window
        windows += _slide(lengths, start, start + size, budget, overlap)
        start += size
    return windows


def _slide(lengths: Sequence[int], start: int, stop: int, budget: int, overlap: int) -> list[Window]:
    """Windows over words `start`..`stop`; two that overlap meet in the middle of what they share."""
    spans: list[tuple[int, int]] = []
    first = start
    while True:
        last = _reach(lengths, first, stop, budget)
        spans.append((first, last))
        if last == stop:
            break
        room = min(overlap, budget - lengths[last])  # the next word must fit behind what is shared
        back, shared = last, 0
        while back - 1 > first and shared + lengths[back - 1] <= room:
            back -= 1
            shared += lengths[back]
        first = back
    borders = [start, *((left[1] + right[0] + 1) // 2 for left, right in pairwise(spans)), stop]
    return [Window(a, b, borders[i], borders[i + 1]) for i, (a, b) in enumerate(spans)]


def _reach(lengths: Sequence[int], first: int, stop: int, budget: int) -> int:
    """The word after the last that fits; at least one word always does."""
    used, last = lengths[first], first + 1
    while last < stop and used + lengths[last] <= budget:
        used += lengths[last]
        last += 1
    return last
