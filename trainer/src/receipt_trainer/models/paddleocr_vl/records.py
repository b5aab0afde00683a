"""What a run says of itself: its record's sections and evaluations, and the fingerprint that its checkpoints bear."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from receipt_trainer.config.job_file import PaddleOcrVlJob
from receipt_trainer.contract.run_record import LossEvaluation, PaddleOcrVlRecord
from receipt_trainer.models.paddleocr_vl.dataset import VlData
from receipt_trainer.training import distributed
from receipt_trainer.training.arguments import NOT_IN_THE_CURVE
from receipt_trainer.training.callbacks import is_number
from receipt_trainer.training.family import Moment


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


class LossEvaluations:
    """Losses and tokens right: the model of the lowest validation loss is kept (see `Evaluations`)."""

    metric = "eval_loss"
    is_higher_better = False
    sent: Collection[str] = ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_accuracy")

    def add(self, record: PaddleOcrVlRecord, moment: Moment, metrics: Mapping[str, float]) -> None:
        """See `Evaluations`."""
        row = LossEvaluation(**asdict(moment), eval_loss=metrics["eval_loss"], eval_accuracy=metrics["eval_accuracy"])
        self._keep(record, [old for old in record.vl.evaluations if old.step < moment.step] + [row])

    def restore(self, record: PaddleOcrVlRecord, earlier: PaddleOcrVlRecord, step: int) -> None:
        """See `Evaluations`."""
        self._keep(record, [row for row in earlier.vl.evaluations if row.step <= step])
        record.vl.peak_memory_gib = earlier.vl.peak_memory_gib or 0.0

    def _keep(self, record: PaddleOcrVlRecord, rows: list[LossEvaluation]) -> None:
        record.vl.evaluations, record.vl.best = rows, best_of(rows)
        record.vl.eval_loss = record.vl.best.eval_loss if record.vl.best else None

    def elapsed_s(self, record: PaddleOcrVlRecord) -> float:
        """See `Evaluations`."""
        return record.vl.evaluations[-1].elapsed_s if record.vl.evaluations else 0.0

    def describe(self, metrics: Mapping[str, float]) -> str:
        """See `Evaluations`."""
        return f"validation loss {metrics['eval_loss']:.4f}, tokens right {metrics['eval_accuracy']:.4f}"


def best_of(evaluations: Sequence[LossEvaluation]) -> LossEvaluation | None:
    """The first evaluation of the lowest loss, whose model is the one that is kept; None without a finite loss."""
    finite = [row for row in evaluations if is_number(row.eval_loss)]
    return min(finite, key=lambda row: row.eval_loss or 0.0, default=None)
