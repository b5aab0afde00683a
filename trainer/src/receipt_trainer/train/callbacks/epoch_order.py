"""Tells the batches and the collator which epoch it is."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from receipt_trainer.train.batches import EpochBatches, PackingCollator


class EpochOrder(TrainerCallback):
    """Order and augmentation are functions of the epoch; this is the one place that sets it."""

    def __init__(self, batches: EpochBatches, collator: PackingCollator) -> None:
        self._batches = batches
        self._collator = collator

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The state's epoch is fractional in the middle of a resumed one."""
        epoch = int(state.epoch or 0)
        self._batches.set_epoch(epoch)
        self._collator.epoch = epoch
