"""Where a trained model is: found without loading anything."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from receipt_trainer.contract.names import MODEL_DIR
from receipt_trainer.errors import UserError

RECIPE: Final = "receipt_trainer.json"
"""The file beside the weights that says how a model's input is cut; a folder that has it holds a trained model."""


def find_model(name: str) -> Path:
    """The folder of a trained model, from itself or from its run's.

    Raises:
        UserError: no trained model there.
    """
    for path in (Path(name), Path(name) / MODEL_DIR):
        if (path / RECIPE).is_file():
            return path
    raise UserError(f"{name}: no trained model there; give a run's folder or its {MODEL_DIR}/ folder")
