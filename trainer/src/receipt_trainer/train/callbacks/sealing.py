"""Seals every checkpoint once it is written, then makes room."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from receipt_trainer.errors import WorldError
from receipt_trainer.train import checkpoints, ranks
from receipt_trainer.train.callbacks.finite_loss import LOWER


class SealingCallback(TrainerCallback):
    """The old checkpoints go only after the new one is sealed: at no moment is there none."""

    def __init__(self, fingerprint: Mapping[str, Any], keep: int, every_steps: int) -> None:
        self._fingerprint = dict(fingerprint)
        self._keep = keep
        self._every_steps = every_steps

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for a checkpoint every so many steps; the end of an epoch asks for its own."""
        at_end = state.global_step >= state.max_steps or float(state.epoch or 0).is_integer()
        if self._every_steps and state.global_step % self._every_steps == 0 and not at_end:
            control.should_save = True
            control.should_log = True  # a resumed run's first logged loss then begins where this one's next does
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Log before the epoch's checkpoint, for the same reason."""
        control.should_log = True
        return control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Seal and prune, once every process has written its part.

        Raises:
            WorldError: a weight is no number; such a checkpoint is never sealed.
        """
        ranks.wait_for_all()
        if not state.is_world_process_zero:
            return
        if model is not None and not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
            raise WorldError(f"step {state.global_step}: a weight is NaN or infinite; {LOWER}")
        run_dir = Path(str(args.output_dir))
        checkpoints.seal(run_dir / f"checkpoint-{state.global_step}", self._fingerprint)
        checkpoints.prune(run_dir, self._keep, state.best_model_checkpoint)
