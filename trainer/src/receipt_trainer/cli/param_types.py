"""Values of the command line that click's own types let through and no command can use: NaN, infinities, half texts."""

from __future__ import annotations

import math
from typing import Any

import click
from click.types import FloatParamType, StringParamType


class _Finite(FloatParamType):
    """A number; NaN is within no bounds and beyond none, so that a limit of it would be no limit."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class _FiniteRange(click.FloatRange, _Finite):
    """A number within bounds."""


class _Text(StringParamType):
    """A text; bytes that are no UTF-8 reach a program as half characters, which no table or queue takes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        if isinstance(text, str) and any("\ud800" <= char <= "\udfff" for char in text):
            self.fail(f"{text.encode('utf-8', 'surrogateescape')!r} is no UTF-8 text.", param, ctx)
        return text


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
