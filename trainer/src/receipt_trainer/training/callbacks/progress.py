"""Shows a run to the person who started it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class ProgressBar(TrainerCallback):
    """A live bar on a terminal; one line an epoch everywhere, so that a log file reads well too."""

    def __init__(self, console: Console, describe: Callable[[Mapping[str, float]], str]) -> None:
        """`describe` puts an evaluation into words."""
        self._console, self._describe = console, describe
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._loss = float("nan")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
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

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """One step further."""
        if self._progress is not None:
            self._progress.update(self._task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
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

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Give the terminal back, also after a fault."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
