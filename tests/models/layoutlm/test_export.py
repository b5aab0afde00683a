"""Saved models: whole ones are loaded, damaged ones refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.errors import UserError
from receipt_trainer.models.layoutlm.export import load_model, save_model
from receipt_trainer.models.layoutlm.model import build, load_tokenizer, resolve

SPACE = LabelSpace(("DATE", "AMOUNT"), merge_amounts=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved tiny model."""
    start = resolve("tiny")
    tokenizer = load_tokenizer(start)
    model = build(start, SPACE, tokenizer, TrainingConfig.model_validate({}))
    directory = tmp_path / "model"
    save_model(
        model,
        tokenizer,
        SPACE,
        DataConfig.model_validate({"examples": "receipt", "max_length": 64, "window_stride": 8}),
        directory,
    )
    return directory


def test_labels_and_windows_come_back(folder: Path) -> None:
    """A run's folder or the model's own: the label space and the windows are those of the training."""
    for name in (folder, folder.parent):
        saved = load_model(str(name))
        assert saved.space == SPACE
        assert (saved.config.examples, saved.config.max_length, saved.config.window_stride) == ("receipt", 64, 8)


def _relabel(folder: Path) -> None:
    recipe = json.loads((folder / "receipt_trainer.json").read_text())
    (folder / "receipt_trainer.json").write_text(json.dumps(recipe | {"labels": ["AMOUNT", "DATE"]}))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "half the weights": lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 100),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "a recipe that is none": lambda folder: (folder / "receipt_trainer.json").write_text("[]"),
    "a config that is none": lambda folder: (folder / "config.json").write_text("{"),
    "other labels": _relabel,
    "no recipe": lambda folder: (folder / "receipt_trainer.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_model_is_refused(folder: Path, damage: Callable[[Path], object]) -> None:
    """Whatever is missing or broken: one line that names the folder, never a model that reads something else."""
    damage(folder)
    with pytest.raises(UserError, match=str(folder)):
        load_model(str(folder))
