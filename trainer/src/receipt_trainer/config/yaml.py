"""Files of values that people wrote: YAML with the line of each key."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from receipt_trainer.contract.job import half_character
from receipt_trainer.errors import UserError

MAX_BYTES: Final = 500_000
"""Bytes of a file of values; PyYAML takes some seconds for as much, and a stored job has less."""
_DEPTH: Final = 4
_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ValueError: one line that says why it is invalid. PyYAML itself also throws what its constructors happen to
            throw: `2024-13-45` is a ValueError, `!!bool maybe` a KeyError, deep nesting a RecursionError.
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())[:160] or type(error).__name__) from None


def read_mapping(path: Path, expected: str) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """The mapping in a YAML file, and the line of each of its keys.

    Args:
        expected: what the mapping should have, for the message.

    Raises:
        UserError: no such file, one of more than `MAX_BYTES`, not YAML, no mapping, or a key given twice.
    """
    try:
        text = _read_text(path)
        values = read_yaml(text)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}: not a YAML file: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a mapping with {expected}")
    tree = yaml.compose(text, Loader=yaml.SafeLoader)
    _refuse_what_reads_otherwise(tree, path)
    return values, _key_lines(tree, path)


def _read_text(path: Path) -> str:
    """The text of a file that is looked at before it is read; a pipe is read as far as it may be long."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
        size = max(os.fstat(file.fileno()).st_size, len(content))
    if size > MAX_BYTES:
        raise UserError(f"{path}: it has {size:,} bytes; at most {MAX_BYTES:,}")
    return content.decode("utf-8")


def line_of(lines: Mapping[tuple[str, ...], int], key: tuple[str, ...]) -> int:
    """The line of a key, or of the nearest one above it that is known."""
    return next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), 1)


def _refuse_what_reads_otherwise(tree: Any, file: Path) -> None:
    """Numbers that YAML reads in base 8 or 60 (`010` is 8, `1:30` is 90), and half characters.

    An escape can write half a character (`"\\ud83d"`), which is no text for a table, a queue or a file.
    """
    waiting, seen = [("", tree)], set()
    while waiting:
        key, node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            if half := half_character(node.value):
                where = f"{file}:{node.start_mark.line + 1}: {key or 'a key'}"
                raise UserError(f"{where} holds {half}, half a character: write the character itself")
            if node.tag in _NUMBERS and (":" in node.value or re.fullmatch(r"[-+]?0[0-9_]+", node.value)):
                where = f"{file}:{node.start_mark.line + 1}: {key or 'a key'}"
                read = read_yaml(node.value)
                raise UserError(f"{where}: {node.value} is {read} in YAML: write {read}, or quotes around a text")
        elif isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                waiting += [(f"{key}.{name.value}".lstrip("."), value), (key, name)]
        else:
            waiting += [(key, value) for value in node.value]


def _key_lines(node: Any, file: Path, prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    """Line of each key. Not deeper than our keys lie: a node may contain itself."""
    lines: dict[tuple[str, ...], int] = {}
    if isinstance(node, yaml.MappingNode) and len(prefix) < _DEPTH:
        for key, value in node.value:
            path, line = (*prefix, str(key.value)), key.start_mark.line + 1
            if path in lines and key.tag != "tag:yaml.org,2002:merge":
                raise UserError(f"{file}:{line}: '{path[-1]}' is given twice, first in line {lines[path]}")
            lines[path] = line
            lines.update(_key_lines(value, file, path))
    return lines
