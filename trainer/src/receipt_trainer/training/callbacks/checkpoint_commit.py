"""Seals every checkpoint once it is written, then makes room; and asks for those between the epochs' ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from receipt_trainer.contract.sinks import MetricsSink, NoMetrics
from receipt_trainer.errors import WorldError
from receipt_trainer.training import checkpoints, distributed
from receipt_trainer.training.trainer import LOWER

MAX_SHARE: Final = 0.05
"""Of the time at most that goes into the checkpoints by the clock: where writing is slow they come less often."""


class CheckpointCommit(TrainerCallback):
    """The old checkpoints go only after the new one is sealed: at no moment is there none."""

    def __init__(
        self,
        fingerprint: Mapping[str, Any],
        keep: int,
        every_steps: int,
        *,
        every_s: float = 0.0,
        sink: MetricsSink | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Say what a checkpoint is of, and when there is one.

        Args:
            fingerprint: of the run, see `fingerprint`.
            keep: checkpoints that stay.
            every_steps: optimizer steps between two; 0: the ends of the epochs alone.
            every_s: seconds between two, besides; 0: no clock.
            sink: hears of each checkpoint.
            clock: seconds that only grow.
        """
        self._fingerprint = dict(fingerprint)
        self._keep = keep
        self._every_steps, self._every_s = every_steps, every_s
        self._sink, self._clock = sink or NoMetrics(), clock
        self._asked_at: float | None = None
        self._due_at = clock() + every_s

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The clock starts with the first step."""
        self._due_at = self._clock() + self._every_s

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for a checkpoint every so many steps, and when it is time; the end of an epoch asks for its own."""
        at_end = state.global_step >= state.max_steps or float(state.epoch or 0).is_integer()
        if self._every_steps and state.global_step % self._every_steps == 0 and not at_end:
            control.should_save = True
            control.should_log = True  # a run is the same with its checkpoints, not with its logged means
        if self._every_s and not at_end and self._is_time():
            control.should_save = True  # and logs nothing: when it is time differs from run to run
            self._asked_at = self._clock()
        return control

    def _is_time(self) -> bool:
        """The main process's clock in all of them: none may save alone."""
        return bool(distributed.same_for_all({"due": float(self._clock() >= self._due_at)})["due"])

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Log before the epoch's checkpoint: what was evaluated stands beside the loss that led there."""
        control.should_log = True
        return control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Seal and prune, once every process has written its part.

        Raises:
            WorldError: a weight is no number; such a checkpoint is never sealed.
        """
        distributed.wait_for_all()
        if state.is_world_process_zero:
            if model is not None and not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
                raise WorldError(f"step {state.global_step}: a weight is NaN or infinite; {LOWER}")
            self._seal(Path(str(args.output_dir)), state)
        now = self._clock()
        took_s = now - self._asked_at if self._asked_at is not None else 0.0
        self._asked_at, self._due_at = None, now + max(self._every_s, took_s * (1 / MAX_SHARE - 1))

    def _seal(self, run_dir: Path, state: TrainerState) -> None:
        step, path = state.global_step, run_dir / f"checkpoint-{state.global_step}"
        size = checkpoints.seal(path, self._fingerprint)
        self._sink.checkpoint(step, epoch=float(state.epoch or 0), path=path, size_bytes=size)
        for gone in checkpoints.prune(run_dir, self._keep, state.best_model_checkpoint):
            self._sink.checkpoint_gone(gone)
