"""Writes what happens: run.json after each epoch, metrics and log lines to the sink."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from receipt_trainer.contract.names import RUN_FILE
from receipt_trainer.contract.run_record import Best, EpochMetrics, RunRecord
from receipt_trainer.contract.sinks import MetricsSink
from receipt_trainer.training.callbacks.metrics_logging import Numbers

_SENT = ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_f1", "eval_precision", "eval_recall")


def best_of(rows: Sequence[EpochMetrics]) -> Best | None:
    """The first evaluation of the highest F1, whose model is the one that is kept."""
    best = max(rows, key=lambda row: row.f1, default=None)
    return Best(epoch=best.epoch, step=best.step, f1=best.f1) if best else None


class Records(Numbers):
    """Keeps the run record true at every epoch."""

    def __init__(self, record: RunRecord, run_dir: Path, sink: MetricsSink) -> None:
        super().__init__(sink, _SENT, record.epoch_metrics[-1].elapsed_s if record.epoch_metrics else 0.0)
        self._record = record
        self._path = run_dir / RUN_FILE
        self._last: dict[str, float] = {}

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Pass on the numbers; keep the last scores for the epoch's row."""
        super().on_log(args, state, control, logs=logs, **kwargs)
        self._last.update({name: float(logs[name]) for name in _SENT if name in logs} if logs else {})

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add the epoch to the record and write it."""
        if not state.is_world_process_zero:
            return
        last = self._last
        logged: dict[str, Any] = next((row for row in reversed(state.log_history) if "loss" in row), {})
        metrics = EpochMetrics(
            epoch=float(state.epoch or 0),
            step=state.global_step,
            train_loss=logged.get("loss"),
            eval_loss=last.get("eval_loss"),
            precision=last["eval_precision"],
            recall=last["eval_recall"],
            f1=last["eval_f1"],
            learning_rate=logged.get("learning_rate"),
            elapsed_s=round(self.elapsed_s(), 3),
        )
        record = self._record
        record.epoch_metrics = [row for row in record.epoch_metrics if row.step < metrics.step] + [metrics]
        record.best = best_of(record.epoch_metrics)
        record.write(self._path)
        self.sink.log("info", f"epoch {metrics.epoch:.2f}: f1 {metrics.f1:.4f}, loss {metrics.eval_loss:.4f}")
