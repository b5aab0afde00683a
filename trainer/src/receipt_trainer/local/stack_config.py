"""A stack's configuration, as the pulumi CLI would hand it to the program."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from receipt_trainer.contract import names
from receipt_trainer.errors import UserError


def load_config(directory: Path, stack: str, overrides: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Defaults of `Pulumi.yaml`, over them `Pulumi.<stack>.yaml`, over them `overrides`; a key replaces, never merges.

    Returns:
        Values by `namespace:key`; what is no string is JSON.

    Raises:
        UserError: a file is missing or no mapping, or a value is encrypted.
    """
    project = project_file(directory)
    name = str(project["name"])
    stack_file = directory / f"Pulumi.{stack}.yaml"
    values = _section(read_yaml(stack_file), stack_file)
    for key, value in values.items():
        if isinstance(value, dict) and set(value) == {"secure"}:
            raise UserError(f"{stack_file.name}: {key} is encrypted, which only the pulumi CLI can read")
    declared = _section(project, directory / "Pulumi.yaml")
    # `key: {type, default, description}`, `namespace:key: {value}` or a plain value
    defaults = {
        key: value.get("value", value.get("default")) if isinstance(value, dict) else value
        for key, value in declared.items()
    }
    found = qualified({key: value for key, value in defaults.items() if value is not None}, name)
    return found | qualified(values, name) | qualified(overrides or {}, name)


def qualified(values: Mapping[str, Any], project: str) -> dict[str, str]:
    """Keys with the project's namespace where they have none, values as strings."""
    return {
        key if ":" in key else f"{project}:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in values.items()
    }


def project_file(directory: Path) -> dict[str, Any]:
    """`Pulumi.yaml` of a program's folder; UserError: it is not there, is no mapping, or names no project."""
    found = read_yaml(directory / "Pulumi.yaml")
    if not found.get("name"):
        raise UserError(f"{directory}: no Pulumi program (it needs a Pulumi.yaml with a name)")
    return found


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping; empty if there is no such file. UserError: it cannot be read, or is something else."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None
    if found is not None and not isinstance(found, dict):
        raise UserError(f"{path}: expected a mapping")
    return found or {}


def _section(file: Mapping[str, Any], path: Path) -> dict[str, Any]:
    config = file.get("config") or {}
    if not isinstance(config, dict):
        raise UserError(f"{path}: config: expected a mapping")
    return config


def find_program(given: Path | None) -> Path:
    """The folder of the stack's program: the given one, else this one, else the clone that we are installed from.

    Raises:
        UserError: there is none; or what running it needs is not installed.
    """
    if importlib.util.find_spec("pulumi_aws") is None:
        raise UserError("the stack's program needs pulumi: pip install './trainer[local]'")
    clone = Path(__file__).parents[4]  # <clone>/trainer/src/receipt_trainer/local
    for folder in [given] if given else [Path.cwd(), clone]:
        if read_yaml(folder / "Pulumi.yaml").get("name") == names.PROJECT:
            return folder.resolve()
    where = f"--program {given}" if given else "here"
    raise UserError(
        f"{where}: no Pulumi.yaml named {names.PROJECT}; run it in a clone of the repository, or give --program"
    )
