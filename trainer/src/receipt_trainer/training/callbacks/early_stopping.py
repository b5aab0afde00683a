"""Stops when evaluations have not got better for a while."""

from __future__ import annotations

import math
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class EarlyStopping(TrainerCallback):
    """Counts from the history in the trainer's state, so that a resumed run stops where an undisturbed one does."""

    def __init__(self, metric: str, patience: int, *, is_higher_better: bool) -> None:
        """`patience`: evaluations without a better `metric`; 0 never stops."""
        self._metric, self._patience, self._is_higher_better = metric, patience, is_higher_better

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Stop once the best evaluation is `patience` evaluations ago."""
        if self.is_reached(state):
            control.should_training_stop = True
        return control

    def is_reached(self, state: TrainerState) -> bool:
        """Whether the best evaluation of the history, of those with a finite value, is `patience` evaluations ago."""
        found = [row[self._metric] for row in state.log_history if is_number(row.get(self._metric))]
        if not self._patience or not found:
            return False
        best = max(found) if self._is_higher_better else min(found)
        return len(found) - 1 - found.index(best) >= self._patience


def is_number(value: float | None) -> bool:
    """Whether a value is finite; one that was not is null in a record that was read again."""
    return value is not None and math.isfinite(value)
