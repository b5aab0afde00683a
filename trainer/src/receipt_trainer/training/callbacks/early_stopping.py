"""Stops when F1 has not risen for a while."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class EarlyStopping(TrainerCallback):
    """Counts from the history in the trainer's state, so that a resumed run stops where an undisturbed one does."""

    def __init__(self, patience: int) -> None:
        """`patience`: evaluations without a better F1; 0 never stops."""
        self._patience = patience

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Stop once the best evaluation is `patience` evaluations ago."""
        if is_reached(state, self._patience):
            control.should_training_stop = True
        return control


def is_reached(state: TrainerState, patience: int) -> bool:
    """Whether the best evaluation of the history is `patience` evaluations ago."""
    history = [row["eval_f1"] for row in state.log_history if "eval_f1" in row]
    return bool(patience and history) and len(history) - 1 - history.index(max(history)) >= patience
