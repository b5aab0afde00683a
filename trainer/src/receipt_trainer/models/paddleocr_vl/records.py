"""What a run says of itself: its record, and the fingerprint that its checkpoints bear."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from receipt_trainer.config_vl import VlConfig
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.models.paddleocr_vl.build import Machine
from receipt_trainer.models.paddleocr_vl.callbacks import best_of
from receipt_trainer.models.paddleocr_vl.prepare import VlData
from receipt_trainer.training import checkpoints, distributed, hardware

_NOT_IN_THE_CURVE: Final = frozenset(
    {"save_total_limit", "save_steps", "logging_steps", "early_stopping_patience", "dataloader_workers"}
)
"""Training keys that a resumed run may change: its losses do not depend on them."""


def record_sections(config: VlConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """training_config and data_config of the run record: the keys of a job file."""
    parts = config.model_dump(mode="json", include={"lora", "loss", "evaluation", "experiment"})
    training = config.training.model_dump(mode="json") | parts
    data = config.model_dump(mode="json", include={"dataset_path", "val_path", "validation_fraction", "augmentation"})
    return training, data


def fingerprint(config: VlConfig, data: VlData) -> dict[str, Any]:
    """What the losses of a run depend on; a checkpoint of another one is refused."""
    values = config.model_dump(mode="json", include={"lora", "loss", "augmentation"})
    training = {
        name: value for name, value in config.training.model_dump(mode="json").items() if name not in _NOT_IN_THE_CURVE
    }
    return {
        "family": "paddleocr-vl",
        "model": config.model_name_or_path,
        "training": training,
        "data": data.fingerprint(),
        "processes": distributed.count(),
        **values,
    }


def open_record(
    config: VlConfig,
    data: VlData,
    machine: Machine,
    *,
    job_name: str,
    job_id: str,
    run_file: Path,
    found: checkpoints.Checkpoint | None,
) -> RunRecord:
    """The record of a run that begins, or that goes on from the checkpoint `found`."""
    training, sources = record_sections(config)
    record = RunRecord(
        family="paddleocr-vl",
        job_name=job_name,
        job_id=job_id,
        model=config.model_name_or_path,
        training_config=training,
        data_config=sources,
        label_list=[],
        dataset_counts=data.counts(),
        vl={"left_out": data.left_out, "evaluations": []},
        versions=hardware.versions(),
        hardware=hardware.describe(machine.cuda, machine.precision),
        started_at=now(),
    )
    if found is not None and run_file.is_file():
        earlier = RunRecord.load(run_file)
        record.job_id, record.started_at = earlier.job_id, earlier.started_at
        record.vl["evaluations"] = [row for row in earlier.vl.get("evaluations", []) if row["step"] <= found.step]
        record.vl["best"] = best_of(record.vl["evaluations"])
        record.vl["eval_loss"] = record.vl["best"].get("eval_loss")
        record.vl["peak_memory_gib"] = earlier.vl.get("peak_memory_gib", 0.0)
        record.timings = dict(earlier.timings)
    return record


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
