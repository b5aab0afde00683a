"""Tells the batches and the collator which epoch it is."""

from __future__ import annotations

from typing import Any, Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class Batches(Protocol):
    """Batches whose order is a function of the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""


class Collator(Protocol):
    """What is drawn for an example is a function of the epoch."""

    epoch: int


class SetEpoch(TrainerCallback):
    """Order and augmentation are functions of the epoch; this is the one place that sets it."""

    def __init__(self, batches: Batches, collator: Collator) -> None:
        self._batches = batches
        self._collator = collator

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The state's epoch is fractional in the middle of a resumed one."""
        epoch = int(state.epoch or 0)
        self._batches.set_epoch(epoch)
        self._collator.epoch = epoch
