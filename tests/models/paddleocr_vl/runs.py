"""Configurations and commands of runs in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from receipt_trainer.config.paddleocr_vl import VlDataConfig

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TRAINING: dict[str, Any] = {
    "learning_rate": 3e-3,
    "per_device_train_batch_size": 3,
    "gradient_accumulation_steps": 2,
    "num_train_epochs": 3,
    "gradient_checkpointing": False,
    "bf16": False,
    "device": "cpu",
    "logging_steps": 1,
}
"""Six steps of two batches with twelve receipts; an epoch has two."""


DATA = VlDataConfig.model_fields.keys()


def write_config(path: Path, model: Path, data: Path, *, lora: dict[str, Any] | None = None, **sections: Any) -> Path:
    """A job file; `training` and the other sections are laid over the defaults of tests: answers, which take time, are
    not asked for."""
    data_config = {"dataset_path": str(data), **{key: sections.pop(key) for key in DATA if key in sections}}
    training = {**TRAINING, **sections.pop("training", {}), "lora": {"r": 8, "dropout": 0.1, **(lora or {})}}
    training |= {"evaluation": {"enabled": False}, **sections}
    values = {"family": "paddleocr-vl", "job_name": path.stem, "model": str(model)}
    path.write_text(yaml.safe_dump({**values, "training_config": training, "data_config": data_config}), "utf-8")
    return path


def vl_train(config: Path, *more: object) -> list[object]:
    """The words behind `receipt-trainer`."""
    return ["vl", "train", "--config", config, "--output-dir", config.with_name("run"), *more]
