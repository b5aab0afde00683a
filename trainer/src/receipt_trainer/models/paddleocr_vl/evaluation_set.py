"""The documents that a model is tested on."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.examples import VlExample, read_examples

NAMES: Final = ("test.jsonl", "val.jsonl")
"""Files that are taken, in this order, where a folder has several."""


def read_test_set(path: Path, limit: int | None = None) -> list[VlExample]:
    """The examples of a file, or of the data set in a folder; the first `limit` of them.

    Raises:
        UserError: no such folder, none or too many data sets in it, or a broken line.
    """
    examples = read_examples(find_test_file(path))
    return examples if limit is None else examples[:limit]


def find_test_file(path: Path) -> Path:
    """The JSON lines file of a folder: one of `NAMES`, or the only one."""
    if not path.is_dir():
        return path
    for name in NAMES:
        if (path / name).is_file():
            return path / name
    found = sorted(path.glob("*.jsonl"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"{path}: there is no data set in it (a file that is called *.jsonl)")
    raise UserError(f"{path}: name one of its data sets: {', '.join(one.name for one in found[:5])}")
