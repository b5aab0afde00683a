"""Where models are, found without loading one: a mistake costs no imports."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from receipt_trainer.contract.names import MODEL_DIR, WEIGHTS_PACKAGE
from receipt_trainer.errors import UserError

TINY: Final = "tiny"
WITHOUT_NETWORK: Final = f"without a network use --model {WEIGHTS_PACKAGE} or --model {TINY}"
RECIPE: Final = "receipt_trainer.json"
"""The file beside the weights that says how a model's input is cut; a folder that has it holds a trained model."""


def find_model(name: str) -> Path:
    """The folder of a trained model, from itself or from its run's; UserError: no trained model there."""
    for path in (Path(name), Path(name) / MODEL_DIR):
        if (path / RECIPE).is_file():
            return path
    missing = "" if Path(name).exists() else " (no such folder)"
    raise UserError(f"{name}: no trained model there{missing}; give a run's folder or its {MODEL_DIR}/ folder")


def find_start(name: str) -> str:
    """What to load a model from that training starts with: a folder, an installed package's, or a name on the hub.

    Raises:
        UserError: it can be no name, and there is no such folder, or no model in it.
    """
    candidates = [Path(name), Path(name) / MODEL_DIR]
    package = name.replace("-", "_").replace(".", "_")
    if package.isidentifier():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            candidates += [Path(place) / "model" for place in spec.submodule_search_locations]
    found = next((str(path) for path in candidates if (path / "config.json").is_file()), None)
    if found is not None or name == TINY:
        return found or name
    if Path(name).is_dir() and (name.startswith((".", "/", "~")) or name.count("/") != 1):
        raise UserError(f"model '{name}' is neither a directory with a model (config.json is missing) nor a package")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith("/"):
        raise UserError(f"model '{name}': no such directory")
    return name
