"""One line for each mistake in the configuration: the key, what is wrong, what is allowed."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from typing import Any, Final, get_args

import pulumi
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

_SHOWN: Final = 60
_MODEL_WORDS: Final = {
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "string_type": "is not a text",
    "model_type": "is not an object",
    "dict_type": "is not an object",
    "tuple_type": "is not a list",
    "too_short": "is empty",
    "too_long": "is too long",
    "literal_error": "is none of these",
}
_FORMS: Final = (
    ("int", "a whole number"),
    ("float", "a number"),
    ("bool", "true or false"),
    ("tuple", "a list of {least} to {most} texts"),
    ("dict", "an object of texts"),
    ("str", "a text"),
)


class SettingsError(pulumi.RunError):
    """Wrong configuration; a line for each problem. Pulumi prints it without a traceback."""


def problem_lines(model: type[BaseModel], error: ValidationError, project: str) -> list[str]:
    """The lines for what pydantic found in `model`, in the order of its fields."""
    # A list whose items are all wrong is also called too short: its items have their own lines.
    # A default that follows from another member has none where that one is wrong.
    items = [
        item
        for item in error.errors(include_url=False)
        if item["type"] != "default_factory_not_called" and (item["type"] != "too_short" or not item["input"])
    ]
    return [f"{project}:{_key(item['loc'])}: {_explain(model, item, project)}" for item in items]


def shown(text: str) -> str:
    """`text` as it stands if it fits a line, else escaped and cut."""
    text = text if text.isprintable() else json.dumps(text)[1:-1]
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _key(loc: Sequence[int | str]) -> str:
    names = [f"[{part}]" if isinstance(part, int) else f".{shown(part)}" for part in loc if part != "[key]"]
    return "".join(names).removeprefix(".")


def _value(value: Any) -> str:
    try:
        return shown(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        return f"a {type(value).__name__}"


def _explain(model: type[BaseModel], item: Any, project: str) -> str:
    kind, loc = item["type"], item["loc"]
    if kind == "extra_forbidden":
        known = _members(_model_at(model, loc[:-1]))
        name = str(loc[-1])
        if len(loc) == 1 and re.split(r"[.\[]", name)[0] in known and name not in known:
            return f"unknown key; was --path left out? allowed: pulumi config set --path {project}:{shown(name)} VALUE"
        close = difflib.get_close_matches(name, known, n=1)
        guess = f"did you mean {close[0]}? " if close else ""
        return f"unknown key; {guess}allowed: {', '.join(known)}"
    if kind in ("value_error", "assertion_error"):
        message = " ".join(str(item["msg"]).removeprefix("Value error, ").split())
        message = message if message.isprintable() else json.dumps(message)[1:-1]
        return message if "allowed:" in message else f"{message}; allowed: values that agree"
    field = _field_at(model, loc)
    allowed = _allowed(field, item) if field else _allowed_form(item)
    if kind == "missing":
        return f"is missing; allowed: {allowed}{f' ({field.description})' if field else ''}"
    problem = _MODEL_WORDS.get(kind, "is out of bounds" if "than" in kind else "is not allowed")
    return f"{_value(item['input'])} {problem}; allowed: {allowed}"


def _members(model: type[BaseModel] | None) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _field_at(model: type[BaseModel], loc: Sequence[int | str]) -> FieldInfo | None:
    owner = _model_at(model, loc[:-1])
    if owner is None:
        return None
    return next((field for name, field in owner.model_fields.items() if (field.alias or name) == loc[-1]), None)


def _model_at(model: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    found: type[BaseModel] | None = model
    for part in loc:
        fields = {field.alias or name: field for name, field in found.model_fields.items()} if found else {}
        found = _model_of(fields[str(part)].annotation) if str(part) in fields else None
    return found


def _model_of(annotation: Any) -> type[BaseModel] | None:
    kinds = [annotation, *get_args(annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _allowed(field: FieldInfo, item: Any) -> str:
    """From the field's own bounds, so that the message cannot say another thing than the check."""
    if nested := _model_of(field.annotation):
        return f"an object of {', '.join(_members(nested))}"
    bounds = {
        name: getattr(data, name)
        for data in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(data, name, None) is not None
    }
    low = f"{bounds['ge']}" if "ge" in bounds else f"above {bounds['gt']}" if "gt" in bounds else ""
    high = f"{bounds['le']}" if "le" in bounds else f"below {bounds['lt']}" if "lt" in bounds else ""
    if low or high:
        return f"{low} to {high}" if low and high else f"{low} or more" if "ge" in bounds else low or high
    if item["type"] == "literal_error":
        return str(item["ctx"]["expected"]).replace("'", "")
    return _form(field)


def _allowed_form(item: Any) -> str:
    return {"string_type": "a text", "bool_type": "true or false"}.get(item["type"], "a text")


def _form(field: FieldInfo) -> str:
    name = str(field.annotation)
    least = next((data.min_length for data in field.metadata if hasattr(data, "min_length")), 0)
    most = next((data.max_length for data in field.metadata if hasattr(data, "max_length")), "any number of")
    form = next((form for kind, form in _FORMS if kind in name), "another value")
    return form.format(least=least, most=most)
