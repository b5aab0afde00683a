"""What a run says of itself as it goes: record, metrics, progress and the lines on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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

from receipt_trainer.contract.names import RUN_FILE
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.sinks import MetricsSink, report_progress
from receipt_trainer.training.family import Evaluations, Moment


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
        """`describe` puts an evaluation into words."""
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
