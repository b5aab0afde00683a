"""What a run says of itself: its record's sections and evaluations, and the fingerprint that its checkpoints bear."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from receipt_trainer.config.job_file import PaddleOcrVlJob
from receipt_trainer.contract.run_record import RunRecord
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

    def add(self, record: RunRecord, moment: Moment, metrics: Mapping[str, float]) -> None:
        """See `Evaluations`."""
        row = asdict(moment) | {name: metrics[name] for name in ("eval_loss", "eval_accuracy")}
        self._keep(record, [old for old in record.vl.get("evaluations", []) if old["step"] < moment.step] + [row])

    def restore(self, record: RunRecord, earlier: RunRecord, step: int) -> None:
        """See `Evaluations`."""
        self._keep(record, [row for row in earlier.vl.get("evaluations", []) if row["step"] <= step])
        record.vl["peak_memory_gib"] = earlier.vl.get("peak_memory_gib", 0.0)

    def _keep(self, record: RunRecord, rows: list[dict[str, Any]]) -> None:
        best = best_of(rows)
        record.vl |= {"evaluations": rows, "best": best, "eval_loss": best.get("eval_loss")}

    def elapsed_s(self, record: RunRecord) -> float:
        """See `Evaluations`."""
        rows = record.vl.get("evaluations", [])
        return float(rows[-1]["elapsed_s"]) if rows else 0.0

    def describe(self, metrics: Mapping[str, float]) -> str:
        """See `Evaluations`."""
        return f"validation loss {metrics['eval_loss']:.4f}, tokens right {metrics['eval_accuracy']:.4f}"


def best_of(evaluations: list[dict[str, Any]]) -> dict[str, Any]:
    """The first evaluation of the lowest loss, whose model is the one that is kept; {} where none has a finite loss."""
    finite = [row for row in evaluations if is_number(row["eval_loss"])]
    return min(finite, key=lambda row: row["eval_loss"], default={})
