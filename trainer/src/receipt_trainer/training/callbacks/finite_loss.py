"""Ends a run whose loss is no number any more."""

from __future__ import annotations

import math
from typing import Any, Final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from receipt_trainer.errors import WorldError

LOWER: Final = "lower the learning rate, or use precision fp32 or bf16"


class FiniteLoss(TrainerCallback):
    """A run that diverged trains nothing: better to say so at once than after the last epoch."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Look at every logged loss.

        Raises:
            WorldError: it is NaN or infinite.
        """
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            raise WorldError(f"step {state.global_step}: the loss is {loss}; {LOWER}")
