"""What steers a run beside its steps: checkpoints, the end that comes early or on request, the epoch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState

from receipt_trainer.contract.interruption import Interrupted, StopRequest
from receipt_trainer.contract.sinks import MetricsSink, NoMetrics
from receipt_trainer.errors import WorldError
from receipt_trainer.files import write_atomically
from receipt_trainer.training import checkpoints, distributed
from receipt_trainer.training.trainer import LOWER

LOSS_FILE: Final = "unlogged.json"
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
            fingerprint: of the run, see `Task.fingerprint`.
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

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The clock starts with the first step."""
        self._due_at = self._clock() + self._every_s

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
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

    def on_epoch_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        """Log before the epoch's checkpoint: what was evaluated stands beside the loss that led there."""
        control.should_log = True
        return control

    def on_save(
        self, args: Any, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
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


class LossState(TrainerCallback):
    """Stands before `CheckpointCommit`, so that its file is sealed with the rest.

    transformers' Trainer adds up the losses since the last log in `_tr_loss`, and writes that into no checkpoint.
    """

    def __init__(self, found: checkpoints.Checkpoint | None) -> None:
        """`found`: the checkpoint from which the run goes on."""
        self._found = found
        self._trainer: Any = None

    def attach(self, trainer: Any) -> None:
        """Name the trainer, which takes its callbacks before it is one."""
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Take up the sum where the checkpoint left it; an old checkpoint without one logged it before."""
        try:
            kept = json.loads((self._found.path / LOSS_FILE).read_bytes()) if self._found else None
        except FileNotFoundError:
            kept = None
        if kept is not None:
            self._trainer._tr_loss += kept["loss"]
            self._trainer._globalstep_last_logged = kept["logged_at_step"]

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write it: the mean of all processes' sums, as a log would take it."""
        total = distributed.mean_of_all(self._trainer._tr_loss)
        if state.is_world_process_zero:
            kept = {"loss": total, "logged_at_step": self._trainer._globalstep_last_logged}
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            write_atomically(folder / LOSS_FILE, json.dumps(kept).encode())


class EarlyStopping(TrainerCallback):
    """Counts from the history in the trainer's state, so that a resumed run stops where an undisturbed one does."""

    def __init__(self, metric: str, patience: int, *, is_higher_better: bool) -> None:
        """`patience`: evaluations without a better `metric`; 0 never stops."""
        self._metric, self._patience, self._is_higher_better = metric, patience, is_higher_better

    def on_evaluate(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
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


class StopSignal(TrainerCallback):
    """Stands behind `CheckpointCommit`: what it ends the run at is sealed already."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """From here on a request waits for a checkpoint.

        Raises:
            Interrupted: it was asked before.
        """
        self._stop.defer()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        """Ask for a checkpoint; the last step of an epoch leaves that to the epoch's end, behind its evaluation."""
        at_end = state.global_step >= state.max_steps or float(state.epoch or 0).is_integer()
        if not at_end and any(self._asked().values()):
            control.should_save = True  # and logs nothing: when it is asked differs from run to run
        return control

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave.

        Raises:
            Interrupted: it was asked.
        """
        self._stop.save_asked = False
        if self._asked()["stop"]:
            raise Interrupted(f"stopped at step {state.global_step}, on request")

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """What follows can be done again: a request need not wait any more."""
        self._stop.undefer()

    def _asked(self) -> dict[str, float]:
        """The main process's answers in all of them: none may save alone."""
        return distributed.same_for_all({"stop": float(self._stop.asked), "save": float(self._stop.save_asked)})
