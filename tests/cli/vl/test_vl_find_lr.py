"""`vl find-lr`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.cli.jobs import Caller
from tests.models.paddleocr_vl.receipts import write_receipts
from tests.models.paddleocr_vl.tiny import make_tiny


def configuration(folder: Path, model: str) -> Path:
    training = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "device": "cpu", "bf16": False}
    values = {"model_name_or_path": model, "dataset_path": str(folder), "training": training}
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return folder / "config.yaml"


def test_the_curve_is_drawn(call: Caller, tmp_path: Path) -> None:
    """A picture, its numbers beside it, and the suggestion on the screen; no folder of a run appears."""
    write_receipts(tmp_path, 6)
    config = configuration(tmp_path, str(make_tiny(tmp_path / "model")))
    there = set(tmp_path.iterdir())
    said = call.succeed(
        *("vl", "find-lr", "--config", config, "--output", tmp_path / "lr.png"),
        *("--start-lr", "1e-4", "--end-lr", "0.1", "--steps", "12"),
    ).out
    assert set(tmp_path.iterdir()) - there == {tmp_path / "lr.png", tmp_path / "lr.json"}
    assert Image.open(tmp_path / "lr.png").size[0] > 500
    record = json.loads((tmp_path / "lr.json").read_text())
    assert len(record["rates"]) == len(record["losses"]) == len(record["smoothed"]) <= 12
    assert record["documents_per_step"] == 2
    assert "steepest descent" in said or "no suggestion" in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--output", "lr.jpg"), "ends in .png"),
        (("--output", "lr.png", "--start-lr", "0.1", "--end-lr", "0.1"), "must be above"),
        (("--output", "lr.png"), "No such file"),
    ],
)
def test_mistakes(call: Caller, words: tuple[str, ...], reason: str) -> None:
    """Each is named in one line."""
    assert reason in call.refuse("vl", "find-lr", "--config", "missing.yaml", *words)
