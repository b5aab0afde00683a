"""Values of the command line that click's own types let through and no command can use: NaN, infinities, half texts."""

from __future__ import annotations

import math
from typing import Any

import click
from click.types import FloatParamType, StringParamType

from receipt_trainer.errors import UserError


class _Finite(FloatParamType):
    """A number; NaN is within no bounds and beyond none, so that a limit of it would be no limit."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            raise UserError(f"{_name(param)}: {value} is no finite number")
        return number


class _FiniteRange(click.FloatRange, _Finite):
    """A number within bounds."""


class _Text(StringParamType):
    """A text; bytes that are no UTF-8 reach a program as half characters, which no table or queue takes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        if isinstance(text, str) and any("\ud800" <= char <= "\udfff" for char in text):
            raise UserError(f"{_name(param)}: {text.encode('utf-8', 'surrogateescape')!r} is no UTF-8 text")
        return text


def _name(param: click.Parameter | None) -> str:
    return "a value" if param is None else param.opts[0] if param.opts else param.human_readable_name


def strict(command: click.Command) -> click.Command:
    """The command, and those within it, with parameters that take finite numbers and whole texts only."""
    for param in command.params:
        param.type = _strict(param.type)
    for inner in getattr(command, "commands", {}).values():
        strict(inner)
    return command


def _strict(kind: click.ParamType[Any]) -> click.ParamType[Any]:
    if type(kind) is click.FloatRange:
        return _FiniteRange(kind.min, kind.max, kind.min_open, kind.max_open, kind.clamp)
    if type(kind) is FloatParamType:
        return _Finite()
    return _Text() if type(kind) is StringParamType else kind
