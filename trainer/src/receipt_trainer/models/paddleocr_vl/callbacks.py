"""What happens beside the steps: the record, the end that comes early, and the lines for whoever watches."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from receipt_trainer.contract.names import RUN_FILE
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.sinks import MetricsSink
from receipt_trainer.training.callbacks.metrics_logging import Numbers
from receipt_trainer.training.callbacks.progress import ProgressBar

_SENT: Final = ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_accuracy")


def best_of(evaluations: list[dict[str, Any]]) -> dict[str, Any]:
    """The first evaluation of the lowest loss, whose model is the one that is kept; {} where none has a finite loss."""
    finite = [row for row in evaluations if _is_number(row["eval_loss"])]
    return min(finite, key=lambda row: row["eval_loss"], default={})


def _is_number(loss: float | None) -> bool:
    """Whether a loss is finite; one that was not is null in a record that was read again."""
    return loss is not None and math.isfinite(loss)


def is_reached(state: TrainerState, patience: int) -> bool:
    """Whether the best evaluation of the history, of those with a finite loss, is `patience` evaluations ago."""
    history = [row["eval_loss"] for row in state.log_history if _is_number(row.get("eval_loss"))]
    return bool(patience and history) and len(history) - 1 - history.index(min(history)) >= patience


class VlEarlyStopping(TrainerCallback):
    """Counts from the history in the trainer's state, so that a resumed run stops where an undisturbed one does."""

    def __init__(self, patience: int) -> None:
        """`patience`: evaluations without a lower eval loss; 0 never stops."""
        self._patience = patience

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Stop once the best evaluation is `patience` evaluations ago."""
        if is_reached(state, self._patience):
            control.should_training_stop = True
        return control


class VlProgress(ProgressBar):
    """The bar of the first family, with this one's line an epoch."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the loss; print the evaluation."""
        super().on_log(args, state, control, logs=logs, **kwargs)
        if logs and "eval_loss" in logs and state.is_world_process_zero:
            self._console.print(
                f"epoch {state.epoch or 0:5.1f}  loss {self._loss:.4f}  validation loss {logs['eval_loss']:.4f}  "
                f"tokens right {logs['eval_accuracy']:.4f}",
                highlight=False,
                soft_wrap=True,
            )


class VlRecords(Numbers):
    """Keeps the run record true at every evaluation, and passes the numbers on."""

    def __init__(self, record: RunRecord, run_dir: Path, sink: MetricsSink) -> None:
        rows = record.vl.get("evaluations", [])
        super().__init__(sink, _SENT, float(rows[-1]["elapsed_s"]) if rows else 0.0)
        self.record = record
        self._path = run_dir / RUN_FILE

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
        row = {
            "epoch": float(state.epoch or 0),
            "step": state.global_step,
            "train_loss": logged.get("loss"),
            "eval_loss": metrics["eval_loss"],
            "eval_accuracy": metrics["eval_accuracy"],
            "learning_rate": logged.get("learning_rate"),
            "elapsed_s": round(self.elapsed_s(), 3),
        }
        vl = self.record.vl
        vl["evaluations"] = [old for old in vl.get("evaluations", []) if old["step"] < row["step"]] + [row]
        vl["best"] = best_of(vl["evaluations"])
        vl["eval_loss"] = vl["best"].get("eval_loss")
        self.record.write(self._path)
        self.sink.log("info", f"epoch {row['epoch']:.2f}: validation loss {row['eval_loss']:.4f}")
