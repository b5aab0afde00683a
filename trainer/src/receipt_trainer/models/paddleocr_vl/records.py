"""What a run says of itself: its record's sections and evaluations, and the fingerprint that its checkpoints bear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from receipt_trainer.config.job_file import PaddleOcrVlJob
from receipt_trainer.contract.run_record import LossEvaluation, PaddleOcrVlRecord
from receipt_trainer.models.paddleocr_vl.dataset import VlData
from receipt_trainer.training import distributed
from receipt_trainer.training.arguments import NOT_IN_THE_CURVE
from receipt_trainer.training.callbacks import is_number
from receipt_trainer.training.family import Evaluations, Moment


def fingerprint(job: PaddleOcrVlJob, data: VlData) -> dict[str, Any]:
    """What the losses of a run depend on; a checkpoint of another one is refused."""
    training = job.training_config.model_dump(mode="json", exclude={"evaluation", "experiment"})
    apart = {name: training.pop(name) for name in ("lora", "loss")}
    return {
        "family": "paddleocr-vl",
        "model": job.model,
        "training": {name: value for name, value in training.items() if name not in NOT_IN_THE_CURVE},
        "data": data.fingerprint(),
        "processes": distributed.count(),
        "augmentation": job.data_config.augmentation.model_dump(mode="json"),
        **apart,
    }


class LossEvaluations(Evaluations[PaddleOcrVlRecord, LossEvaluation]):
    """Losses and tokens right: the model of the lowest validation loss is kept."""

    metric = "eval_loss"
    is_higher_better = False
    sent = ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_accuracy")

    def row(self, moment: Moment, metrics: Mapping[str, float]) -> LossEvaluation:
        """See `Evaluations`."""
        scores = {name: metrics[name] for name in ("eval_loss", "eval_accuracy")}
        return LossEvaluation(**asdict(moment), **scores)

    def rows(self, record: PaddleOcrVlRecord) -> list[LossEvaluation]:
        """See `Evaluations`."""
        return record.vl.evaluations

    def keep(self, record: PaddleOcrVlRecord, rows: list[LossEvaluation]) -> None:
        """See `Evaluations`."""
        record.vl.evaluations, record.vl.best = rows, best_of(rows)
        record.vl.eval_loss = record.vl.best.eval_loss if record.vl.best else None

    def restore(self, record: PaddleOcrVlRecord, earlier: PaddleOcrVlRecord, step: int) -> None:
        """See `Evaluations`; the peak of memory is that of all attempts."""
        super().restore(record, earlier, step)
        record.vl.peak_memory_gib = earlier.vl.peak_memory_gib

    def describe(self, metrics: Mapping[str, float]) -> str:
        """See `Evaluations`."""
        return f"validation loss {metrics['eval_loss']:.4f}, tokens right {metrics['eval_accuracy']:.4f}"


def best_of(evaluations: Sequence[LossEvaluation]) -> LossEvaluation | None:
    """The first evaluation of the lowest loss, whose model is the one that is kept; None without a finite loss."""
    finite = [row for row in evaluations if is_number(row.eval_loss)]
    return min(finite, key=lambda row: row.eval_loss or 0.0, default=None)
