"""Writes what happens: run.json after each evaluation, metrics and log lines to the sink."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from receipt_trainer.contract.names import RUN_FILE
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.sinks import MetricsSink
from receipt_trainer.training.family import Evaluations, Moment


class Records(TrainerCallback):
    """Keeps the run record true at every evaluation, and counts the run's time over all attempts."""

    def __init__(self, evaluations: Evaluations, record: RunRecord, run_dir: Path, sink: MetricsSink) -> None:
        self._evaluations, self._record, self._sink = evaluations, record, sink
        self._path = run_dir / RUN_FILE
        self._elapsed_before = evaluations.elapsed_s(record)
        self._started = time.monotonic()

    def elapsed_s(self) -> float:
        """Training time so far, with what earlier attempts had recorded, in seconds."""
        return self._elapsed_before + time.monotonic() - self._started

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._started = time.monotonic()
        self._sink.log("info", f"training from step {state.global_step} of {state.max_steps}")

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
        for name in self._evaluations.sent:
            if name in logs:
                self._sink.metric(name, float(logs[name]), step=state.global_step, epoch=float(state.epoch or 0))

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
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
