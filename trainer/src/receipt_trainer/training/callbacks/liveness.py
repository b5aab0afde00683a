"""Says that a run gets on; any model family can use it."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from receipt_trainer.contract.progress import report_progress


class ProgressReports(TrainerCallback):
    """Every step, evaluation and checkpoint is progress; long evaluations say so at their batches themselves."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """An optimizer step is done."""
        report_progress(f"step {state.global_step}")

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A batch of a step is done."""
        report_progress(f"a batch after step {state.global_step}")

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """An evaluation is done."""
        report_progress(f"evaluation at step {state.global_step}")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A checkpoint is written."""
        report_progress(f"checkpoint of step {state.global_step}")
