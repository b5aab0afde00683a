"""In which order examples are seen, as a function of seed and epoch alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from receipt_trainer.data.document_set import VlExample
from receipt_trainer.training.batches import EpochBatches

Schedule = Literal["none", "easy_to_hard"]
_WINDOW: Final = 16
"""Batches whose examples are sorted by length among themselves: little padding, and an order that is still random."""


def difficulties(examples: Sequence[VlExample]) -> NDArray[np.float64]:
    """How hard each example is, 0 to 1: as the data set says, or, where it does not say so for all, half by the
    number of line items and half by the length of the answer, each as a share of the largest.
    """
    given = [example.difficulty for example in examples]
    if all(value is not None for value in given):
        return np.asarray(given, dtype=np.float64)
    items = np.asarray([_num_items(example.output) for example in examples], dtype=np.float64)
    letters = np.asarray([len(example.output) for example in examples], dtype=np.float64)
    shares: NDArray[np.float64] = (items / max(items.max(), 1) + letters / max(letters.max(), 1)) / 2
    return shares


def _num_items(output: str) -> int:
    try:
        document: Any = json.loads(output)
    except (ValueError, RecursionError):
        return 0
    items = document.get("line_items") if isinstance(document, dict) else None
    return len(items) if isinstance(items, list) else 0


class CurriculumBatches(EpochBatches):
    """Every example once an epoch.

    Without a schedule an epoch is shuffled, and examples of like length share a batch. With easy_to_hard the first
    epoch goes strictly from the easiest example to the hardest; noise on the ranks grows from epoch to epoch, and
    the last one is shuffled.
    """

    batch_size: int

    def __init__(
        self,
        lengths: NDArray[np.int64],
        batch_size: int,
        seed: int,
        *,
        schedule: Schedule = "none",
        difficulty: NDArray[np.float64] | None = None,
        num_epochs: float = 1.0,
    ) -> None:
        """
        Args:
            lengths: tokens of each example.
            schedule: needs `difficulty` where it is easy_to_hard.
            num_epochs: of the complete run; the schedule is stretched over them.
        """
        if schedule == "easy_to_hard" and difficulty is None:
            raise ValueError("easy_to_hard needs difficulties")
        super().__init__(batch_size, seed)
        self._lengths, self._schedule, self._num_epochs = lengths, schedule, num_epochs
        self._ranks = None if difficulty is None else np.argsort(np.argsort(difficulty, kind="stable"), kind="stable")

    def __len__(self) -> int:
        return -(-len(self._lengths) // self.batch_size)

    def order(self, draw: np.random.Generator) -> list[list[int]]:
        """See `EpochBatches`."""
        noise = self._noise()
        if noise < 1 and self._ranks is not None:
            count = len(self._ranks)
            return self._cut(np.argsort((1 - noise) * self._ranks + noise * count * draw.random(count), kind="stable"))
        return self._by_length(draw.permutation(len(self._lengths)), draw)

    def _noise(self) -> float:
        """0: strictly by difficulty; 1: shuffled."""
        if self._schedule == "none":
            return 1.0
        last = max(int(np.ceil(self._num_epochs)) - 1, 1)
        return min(self.epoch / last, 1.0)

    def _cut(self, order: NDArray[np.int64]) -> list[list[int]]:
        size = self.batch_size
        return [order[first : first + size].tolist() for first in range(0, len(order), size)]

    def _by_length(self, order: NDArray[np.int64], draw: np.random.Generator) -> list[list[int]]:
        """Batches of like lengths in a random order; the one that is not full stays the last."""
        size, batches = self.batch_size, []
        for first in range(0, len(order), size * _WINDOW):
            window = order[first : first + size * _WINDOW]
            batches += self._cut(window[np.argsort(self._lengths[window], kind="stable")])
        full = [batch for batch in batches if len(batch) == size]
        rest = [batch for batch in batches if len(batch) < size]
        return [full[number] for number in draw.permutation(len(full))] + rest
