"""Declared is what is imported, and members of libraries that are private are there."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import CodeType

import pytest
from transformers import Trainer, TrainingArguments

ROOT = Path(__file__).parent.parent / "trainer"
DISTRIBUTIONS = packages_distributions() | {"google": ["protobuf"]}

USED_BY_OTHERS = {"tensorboard", "pulumi_aws"}
"""Declared without an import of ours: transformers writes curves for the first, the Pulumi program has the second."""


def normal(name: str) -> str:
    return re.sub(r"[-.]", "_", name).lower()


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return {normal(re.split(r"[\[<>=]", wanted)[0]) for wanted in (one for given in lists for one in given)}


def imported() -> set[str]:
    """Distributions of all imports, also of those in functions, but of those for type checkers."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text())
        blocks = [
            node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        ]
        typed = {node for block in blocks for node in ast.walk(block)}
        for node in ast.walk(tree):
            if node in typed:
                continue
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    found -= {*sys.stdlib_module_names, "receipt_trainer"}
    return {normal(DISTRIBUTIONS[name][0]) for name in found}


def test_declared_is_what_is_imported() -> None:
    """Nothing is imported that another package happens to bring, and nothing is declared in vain."""
    assert imported() == declared() - USED_BY_OTHERS


def test_the_wheel_has_every_file() -> None:
    """Tests run from the sources, and an instance from the wheel: each file of data matches a pattern of the package,
    and each folder with modules is a package."""
    package = ROOT / "src" / "receipt_trainer"
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    files = {path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    data = {path for path in files if path.suffix != ".py"}
    assert data == {path for pattern in patterns["receipt_trainer"] for path in package.glob(pattern)}
    assert {path.parent for path in files - data} == {path.parent for path in files if path.name == "__init__.py"}


def names_of(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*map(names_of, inner))


@pytest.mark.parametrize("name", ["_tr_loss", "_globalstep_last_logged"])
def test_the_trainer_still_keeps_its_losses_there(name: str) -> None:
    """A resumed run hands back what was added up since the last log: transformers' Trainer must look there."""
    methods = [method for _, method in inspect.getmembers(Trainer, inspect.isfunction)]
    used = set().union(*(names_of(method.__code__) for method in methods))
    assert name in used, f"transformers' Trainer has no {name} any more: see training/callbacks.py"


def test_the_trainer_still_measures_gradients_there() -> None:
    """Every step's norm is watched where transformers asks for it."""
    assert [*inspect.signature(Trainer._get_grad_norm).parameters] == ["self", "model", "grad_norm"]


def test_the_arguments_still_count_gpus_there() -> None:
    """Where the number of GPUs of one process is set to one."""
    assert "_n_gpu" in names_of(vars(TrainingArguments)["n_gpu"].fget.__code__)
