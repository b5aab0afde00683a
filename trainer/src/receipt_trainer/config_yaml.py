"""Values that people wrote, validated: errors that name the line, the key and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from receipt_trainer.errors import UserError

Model = TypeVar("Model", bound=BaseModel)

_DEPTH: Final = 4
_SHOWN: Final = 80


def parse(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """Validate `values`.

    Raises:
        UserError: one line that names every wrong field, what is wrong, and the known fields for an unknown one.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(f"{where}: {'; '.join(_explain(model, item) for item in error.errors())}") from None


def _explain(model: type[BaseModel], item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"])
    name = path if path.isprintable() else repr(path)[1:-1]
    if item["type"] == "extra_forbidden":
        return f"unknown key '{name}' (known: {', '.join(sorted(_model_at(model, item['loc']).model_fields))})"
    message = str(item["msg"]).removeprefix("Value error, ")
    if not path:  # it names its fields itself
        return message
    shown = "" if item["type"] in ("missing", "value_error") else f", not {_short(item['input'])}"
    return f"{name}: {message[:1].lower()}{message[1:]}{shown}"


def _model_at(model: type[BaseModel], loc: Sequence[Any]) -> type[BaseModel]:
    """The model in which the last key of `loc` was looked for."""
    for key in loc[:-1]:
        field = model.model_fields.get(str(key))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            break
        model = field.annotation
    return model


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def read_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ValueError: one line that says why it is none. PyYAML itself also throws what its constructors happen to
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
        UserError: no such file, not YAML, no mapping, or a key given twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = read_yaml(text)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}: not a YAML file: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a mapping with {expected}")
    return values, _key_lines(yaml.compose(text, Loader=yaml.SafeLoader), path)


def parse_at(
    model: type[Model],
    values: Any,
    path: Path,
    lines: Mapping[tuple[str, ...], int],
    key: str | None = None,
) -> Model:
    """Validate what stands in a file under `key` (None: the whole file).

    Raises:
        UserError: the first wrong field, with its line.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        item = error.errors()[0]
        loc = tuple(str(step) for step in ([key] if key else []) + list(item["loc"]))
        line = next((lines[loc[:n]] for n in range(len(loc), 0, -1) if loc[:n] in lines), 1)
        raise UserError(f"{path}:{line}: {_explain(model, item)}") from None


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
