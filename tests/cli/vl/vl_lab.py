"""A folder of experiments for the tests of commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def write(folder: Path, name: str, values: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))


def base_of(model: Path, data: Path) -> dict[str, Any]:
    training = {"max_steps": 2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "device": "cpu"}
    return {
        "model_name_or_path": str(model),
        "dataset_path": str(data),
        "training": training | {"bf16": False, "gradient_checkpointing": False, "warmup_ratio": 0.0},
        "lora": {"r": 2},
        "evaluation": {"enabled": False},
    }


def write_lab(folder: Path) -> Path:
    """A base and one experiment in FOLDER/lab; no model behind them."""
    lab = folder / "lab"
    write(lab, "base", base_of(folder / "paddleocr-vl", folder / "data"))
    write(lab, "rank-4", {"lora": {"r": 4}})
    return lab
