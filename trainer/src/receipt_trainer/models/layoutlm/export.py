"""Trained models on disk: written completely or not at all, found and loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoTokenizer, LayoutLMForTokenClassification

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.errors import UserError
from receipt_trainer.files import replacing_folder
from receipt_trainer.models.layoutlm.packing import use_packing
from receipt_trainer.models.layoutlm.places import RECIPE, find_model
from receipt_trainer.models.layoutlm.relative import load_classifier


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A trained model, its tokenizer, label space and windows."""

    model: LayoutLMForTokenClassification
    tokenizer: Any
    space: LabelSpace
    config: DataConfig


def save_model(model: Any, tokenizer: Any, space: LabelSpace, config: DataConfig, directory: Path) -> None:
    """Put model, tokenizer and recipe into `directory`, in the place of what is there; see `replacing_folder`."""
    with replacing_folder(directory) as beside:
        model.save_pretrained(beside)
        tokenizer.save_pretrained(beside)
        recipe = {
            "labels": list(space.labels),
            "merge_amounts": space.merge_amounts,
            "annotated": {source: sorted(names) for source, names in space.annotated.items()},
            "examples": config.examples,
            "max_length": config.max_length,
            "use_sliding_window": config.use_sliding_window,
            "window_stride": config.window_stride,
        }
        (beside / RECIPE).write_text(json.dumps(recipe, indent=1), encoding="utf-8")


def load_model(name: str, device: str = "cpu") -> SavedModel:
    """A model saved by a run: its folder, or the run's; UserError: no trained model there."""
    directory = find_model(name)
    try:
        recipe = json.loads((directory / RECIPE).read_bytes())
        annotated = {source: frozenset(names) for source, names in recipe["annotated"].items()}
        space = LabelSpace(tuple(recipe["labels"]), recipe["merge_amounts"], annotated)
        windows = ("examples", "max_length", "use_sliding_window", "window_stride")
        config = DataConfig(
            merge_amounts=space.merge_amounts,
            allowed_labels=space.labels,
            **{field: recipe[field] for field in windows},
        )
        model = load_classifier(directory)
        if not (directory / "tokenizer.json").is_file():  # without it, transformers makes up another tokenizer
            raise ValueError("tokenizer.json is missing")
        tokenizer = AutoTokenizer.from_pretrained(directory)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{directory}: not a complete model: {' '.join(str(error).split())[:160]}") from None
    if tuple(model.config.id2label[index] for index in range(model.config.num_labels)) != space.tags:
        raise UserError(f"{directory}: config.json and {RECIPE} disagree about the labels")
    use_packing(model)
    return SavedModel(model.to(device).eval(), tokenizer, space, config)
