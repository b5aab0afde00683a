"""Checkpoints on request, after the current step: the run ends there, or goes on."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from receipt_trainer.contract.interruption import Interrupted, StopRequest
from receipt_trainer.training import distributed


class StopSignal(TrainerCallback):
    """Stands behind `CheckpointCommit`: what it ends the run at is sealed already."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """From here on a request waits for a checkpoint.

        Raises:
            Interrupted: it was asked before.
        """
        self._stop.defer()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for a checkpoint; the last step of an epoch leaves that to the epoch's end, behind its evaluation."""
        at_end = state.global_step >= state.max_steps or float(state.epoch or 0).is_integer()
        if not at_end and any(self._asked().values()):
            control.should_save = True  # and logs nothing: when it is asked differs from run to run
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave.

        Raises:
            Interrupted: it was asked.
        """
        self._stop.save_asked = False
        if self._asked()["stop"]:
            raise Interrupted(f"stopped at step {state.global_step}, on request")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """What follows can be done again: a request need not wait any more."""
        self._stop.undefer()

    def _asked(self) -> dict[str, float]:
        """The main process's answers in all of them: none may save alone."""
        return distributed.same_for_all({"stop": float(self._stop.asked), "save": float(self._stop.save_asked)})
