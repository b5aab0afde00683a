"""Callbacks of a run: checkpoints, the end that comes early or on request, the record, bars."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers import TrainerCallback, TrainerControl, TrainerState

from receipt_trainer.contract.interruption import Interrupted, StopRequest
from receipt_trainer.contract.names import RUN_FILE
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.sinks import MetricsSink, NoMetrics, report_progress
from receipt_trainer.errors import WorldError
from receipt_trainer.files import write_atomically
from receipt_trainer.training import checkpoints, distributed
from receipt_trainer.training.family import Evaluations, Moment
from receipt_trainer.training.trainer import LOWER

LOSS_FILE: Final = "unlogged.json"
MAX_SHARE: Final = 0.05
"""Of the time at most that goes into the checkpoints by the clock: where writing is slow they come less often."""


class CheckpointCommit(TrainerCallback):
    """The old checkpoints go only after the new one is sealed: at no moment is there none.

    Args:
        every_steps: optimizer steps between two; 0: the ends of the epochs alone.
        every_s: seconds between two, besides; 0: no clock.
    """

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
        """Seal and prune, once every process has written its part; a weight that is NaN or infinite is a WorldError."""
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


class SpacedCheckpoints(TrainerCallback):
    """Of many short epochs only every `every` leaves a checkpoint, and the last. Stands before `StopSignal`."""

    def __init__(self, every: int) -> None:
        self._every = every

    def on_epoch_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        """Take back what transformers asks for after each epoch."""
        if round(state.epoch or 0) % self._every and state.global_step < state.max_steps:
            control.should_save = False
        return control


class LossState(TrainerCallback):
    """Stands before `CheckpointCommit`, so that its file is sealed with the rest.

    transformers' Trainer adds up the losses since the last log in `_tr_loss`, and writes that into no checkpoint.
    """

    def __init__(self, found: checkpoints.Checkpoint | None) -> None:
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

    def __init__(self, evaluations: Evaluations[Any, Any], patience: int) -> None:
        """`patience`: evaluations without a better one; 0 never stops."""
        self._evaluations, self._patience = evaluations, patience

    def on_evaluate(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        """Stop once the best evaluation is `patience` evaluations ago."""
        if self.is_reached(state):
            control.should_training_stop = True
        return control

    def is_reached(self, state: TrainerState) -> bool:
        """Whether the best evaluation of the history, of those with a finite value, is `patience` evaluations ago."""
        found = [
            row[self._evaluations.metric] for row in state.log_history if is_number(row.get(self._evaluations.metric))
        ]
        if not self._patience or not found:
            return False
        best = max(found) if self._evaluations.is_higher_better else min(found)
        return len(found) - 1 - found.index(best) >= self._patience


def is_number(value: float | None) -> bool:
    """Whether a value is finite; one that was not is null in a record that was read again."""
    return value is not None and math.isfinite(value)


class StopSignal(TrainerCallback):
    """Stands behind `CheckpointCommit`: what it ends the run at is sealed already."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """From here on a request waits for a checkpoint; Interrupted: it was asked before."""
        self._stop.defer()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        """Ask for a checkpoint; the last step of an epoch leaves that to the epoch's end, behind its evaluation."""
        at_end = state.global_step >= state.max_steps or float(state.epoch or 0).is_integer()
        if not at_end and any(self._asked().values()):
            control.should_save = True  # and logs nothing: when it is asked differs from run to run
        return control

    def on_epoch_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        """Ask for a checkpoint where the epoch does not."""
        control.should_save = control.should_save or any(self._asked().values())
        return control

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave by Interrupted, if that was asked."""
        self._stop.save_asked = False
        if self._asked()["stop"]:
            raise Interrupted(f"stopped at step {state.global_step}, on request")

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """From here on work can be repeated: a request no longer has to wait."""
        self._stop.undefer()

    def _asked(self) -> dict[str, float]:
        """The main process's answers in all of them: none may save alone."""
        return distributed.same_for_all({"stop": float(self._stop.asked), "save": float(self._stop.save_asked)})


class Records(TrainerCallback):
    """Keeps the run record true at every evaluation, and counts the run's time over all attempts."""

    def __init__(self, evaluations: Evaluations[Any, Any], record: RunRecord, run_dir: Path, sink: MetricsSink) -> None:
        self._evaluations, self._record, self._sink = evaluations, record, sink
        self._path = run_dir / RUN_FILE
        self._elapsed_before = evaluations.elapsed_s(record)
        self._started = time.monotonic()

    def elapsed_s(self) -> float:
        """Training time so far, with what earlier attempts had recorded, in seconds."""
        return self._elapsed_before + time.monotonic() - self._started

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Start the clock."""
        self._started = time.monotonic()
        self._sink.log("info", f"training from step {state.global_step} of {state.max_steps}")

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Pass on the numbers."""
        if not state.is_world_process_zero or logs is None:
            return
        for name in self._evaluations.sent:
            if name in logs:
                self._sink.metric(name, float(logs[name]), step=state.global_step, epoch=float(state.epoch or 0))

    def on_evaluate(self, args: Any, state: TrainerState, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Add the evaluation to the record and write it."""
        if not state.is_world_process_zero or metrics is None:
            return
        logged: dict[str, Any] = next((row for row in reversed(state.log_history) if "loss" in row), {})
        moment = Moment(
            epoch=float(state.epoch or 0),
            step=state.global_step,
            train_loss=logged.get("loss"),
            learning_rate=logged.get("learning_rate"),
            elapsed_s=round(self.elapsed_s(), 3),
        )
        self._evaluations.add(self._record, moment, metrics)
        self._record.write(self._path)
        self._sink.log("info", f"epoch {moment.epoch:.2f}: {self._evaluations.describe(metrics)}")


class ProgressBar(TrainerCallback):
    """A live bar on a terminal; one line an epoch everywhere, so that a log file reads well too."""

    def __init__(self, console: Console, describe: Callable[[Mapping[str, float]], str]) -> None:
        self._console, self._describe = console, describe
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._loss = float("nan")

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Open the bar at the step that the run continues from."""
        if not state.is_world_process_zero or not self._console.is_terminal:
            return
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task("training", total=state.max_steps, completed=state.global_step, note="")
        self._progress.start()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """One step further."""
        if self._progress is not None:
            self._progress.update(self._task, completed=state.global_step)

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the loss; print the evaluation."""
        logs = logs or {}
        self._loss = float(logs.get("loss", self._loss))
        if self._progress is not None:
            self._progress.update(self._task, note=f"epoch {state.epoch or 0:.1f}  loss {self._loss:.3f}")
        if "eval_loss" in logs and state.is_world_process_zero:
            self._console.print(
                f"epoch {state.epoch or 0:5.1f}  loss {self._loss:.4f}  {self._describe(logs)}",
                highlight=False,
                soft_wrap=True,
            )

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Give the terminal back, also after a fault."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class ProgressReports(TrainerCallback):
    """Every step, evaluation and checkpoint is progress; long evaluations say so at their batches themselves."""

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """An optimizer step is done."""
        report_progress(f"step {state.global_step}")

    def on_substep_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A batch of a step is done."""
        report_progress(f"a batch after step {state.global_step}")

    def on_evaluate(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """An evaluation is done."""
        report_progress(f"evaluation at step {state.global_step}")

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A checkpoint is written."""
        report_progress(f"checkpoint of step {state.global_step}")
