"""Batches whose order is a function of seed and epoch alone: a resumed run needs no state to see the same ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState


class EpochBatches(ABC):
    """Batches of example numbers, a batch sampler as torch's DataLoader takes it.

    Attributes:
        batch_size: examples of a batch; None: batches differ in their number.
    """

    drop_last = False

    def __init__(self, batch_size: int | None, seed: int) -> None:
        self.batch_size = batch_size
        self.epoch = 0
        self._seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    @abstractmethod
    def __len__(self) -> int:
        """Batches of an epoch."""

    @abstractmethod
    def order(self, draw: np.random.Generator) -> Iterable[list[int]]:
        """The batches of an epoch."""

    def __iter__(self) -> Iterator[list[int]]:
        yield from self.order(np.random.default_rng((self._seed, self.epoch)))


class Collator(Protocol):
    """The random draw of an example depends on the epoch."""

    epoch: int


class SetEpoch(TrainerCallback):
    """Order and augmentation are functions of the epoch; this is the one place that sets it."""

    def __init__(self, batches: EpochBatches, collator: Collator) -> None:
        self._batches = batches
        self._collator = collator

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The state's epoch is fractional in the middle of a resumed one."""
        epoch = int(state.epoch or 0)
        self._batches.set_epoch(epoch)
        self._collator.epoch = epoch
