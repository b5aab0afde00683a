"""Passes on the numbers of a run as they are logged, and counts its time over all attempts."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from receipt_trainer.contract.sinks import MetricsSink


class Numbers(TrainerCallback):
    """What the records of both model families have in common."""

    def __init__(self, sink: MetricsSink, sent: Collection[str], elapsed_before: float) -> None:
        """Take where the numbers go.

        Args:
            sink: takes metrics and log lines.
            sent: names of the metrics that are passed on.
            elapsed_before: training time of earlier attempts in seconds.
        """
        self.sink = sink
        self._sent, self._elapsed_before = sent, elapsed_before
        self._started = time.monotonic()

    def elapsed_s(self) -> float:
        """Training time so far, with what earlier attempts had recorded, in seconds."""
        return self._elapsed_before + time.monotonic() - self._started

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._started = time.monotonic()
        self.sink.log("info", f"training from step {state.global_step} of {state.max_steps}")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Pass on the numbers."""
        if not state.is_world_process_zero or logs is None:
            return
        for name in self._sent:
            if name in logs:
                self.sink.metric(name, float(logs[name]), step=state.global_step, epoch=float(state.epoch or 0))
