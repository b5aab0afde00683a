"""Configurations of experiments for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

BASE: dict[str, Any] = {
    "dataset_path": "train.jsonl",
    "training": {"learning_rate": 1e-4, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    "experiment": {"name": "the base", "hyperparameters_under_test": ["whatever"]},
}


def write(folder: Path, name: str, values: dict[str, Any]) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def write_lab(folder: Path) -> Path:
    """A base, one experiment that is written in full, one that says only what it changes."""
    write(folder, "base", BASE)
    write(folder, "rank-8", {"dataset_path": "train.jsonl", "training": BASE["training"], "lora": {"r": 8}})
    write(folder, "hot", {"training": {"learning_rate": 5e-4}})
    return folder
