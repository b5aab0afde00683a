"""Search space of a sweep: one hyperparameter an axis, as a list of values or as a range.

Hyperparameters of a job are known by their keys; a dot leads into a section: `lora.r`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.fields import FieldInfo

from receipt_trainer.config.base import Strict, parse, section_of
from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.config.paddleocr_vl import SHORT_NAMES, VlDataConfig, VlTrainingConfig
from receipt_trainer.config.yaml import read_yaml
from receipt_trainer.contract.job import Family
from receipt_trainer.errors import UserError

Section = Literal["training_config", "data_config", "experiment"]
"""Where a varied value goes; `experiment`: it is the name of a complete configuration."""

_SECTIONS: Final[Mapping[Family, Mapping[Section, type[BaseModel]]]] = {
    "layoutlm": {"training_config": TrainingConfig, "data_config": DataConfig},
    "paddleocr-vl": {"training_config": VlTrainingConfig, "data_config": VlDataConfig},
}
_TITLES: Final = {name: short for short, name in SHORT_NAMES.items()}


def sections(family: Family) -> Mapping[Section, type[BaseModel]]:
    """The configuration of each section of a job of this family."""
    return _SECTIONS[family]


def canonical(key: str, family: Family) -> str:
    """The name of a field in a job of this family, whose short names are understood."""
    return SHORT_NAMES.get(key, key) if family == "paddleocr-vl" else key


def title(key: str) -> str:
    """The key as the head of a column: its short name, if it has one."""
    return _TITLES.get(key, key)


def field_of(config: type[BaseModel], key: str) -> FieldInfo | None:
    """The field of this key; None if there is none, or if it is a section."""
    *path, last = key.split(".")
    for name in path:
        inner = section_of(config, name)
        if inner is None:
            return None
        config = inner
    return None if section_of(config, last) is not None else config.model_fields.get(last)


def known_keys(family: Family, near: str) -> list[str]:
    """All keys of a family; where `near` begins with the name of a section, those of that section."""
    every = sorted(key for config in sections(family).values() for key in _keys(config))
    within = [key for key in every if key.startswith(f"{near.partition('.')[0]}.")]
    return within or every


def get_value(values: Mapping[str, Any], key: str) -> Any:
    """The value of a key."""
    return reduce(lambda inner, name: inner[name], key.split("."), values)


def put_value(values: dict[str, Any], key: str, value: Any) -> None:
    """Set the value of a key whose section is there."""
    *path, last = key.split(".")
    reduce(lambda inner, name: inner[name], path, values)[last] = value


def _keys(config: type[BaseModel]) -> Iterator[str]:
    for name in config.model_fields:
        if (inner := section_of(config, name)) is not None:
            yield from (f"{name}.{key}" for key in _keys(inner))
        elif name != "seed":
            yield name


MAX_CHOICES: Final = 100
_NUMBER: Final = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE: Final = re.compile(rf"\s*({_NUMBER})\s*:\s*({_NUMBER})\s*", re.ASCII)
_LOG: Final = frozenset({"learning_rate"})
"""Fields whose ranges are searched by their logarithm."""


class Axis(BaseModel):
    """One hyperparameter and what it may be: `choices`, or all numbers from `low` to `high`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    section: Section
    key: str
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    is_log: bool = False
    is_whole: bool = False

    @property
    def is_range(self) -> bool:
        """Whether it has no list of values."""
        return self.low is not None

    def text(self) -> str:
        """As people write it."""
        if self.is_range:
            kind = ", log" if self.is_log else ", whole numbers" if self.is_whole else ""
            return f"{self.key} {self.low:g} to {self.high:g}{kind}"
        return f"{self.key} {', '.join(str(choice) for choice in self.choices)}"


def read_axis(option: str, key: str, text: str, family: Family) -> Axis:
    """The axis of a command line's option.

    Args:
        option: for messages, such as "--learning-rates".
        key: a field of one of the two configurations; dots lead into their sections.
        text: values joined by commas, in YAML; or LOW:HIGH.

    Raises:
        UserError: an unknown field, a value that it does not take, a value twice, or no value.
    """
    key = canonical(key, family)
    found = ((section, field_of(config, key)) for section, config in sections(family).items())
    section, field = next((one for one in found if one[1] is not None), ("data_config", None))
    if field is None:
        raise UserError(f"{option}: unknown key '{key}' (known: {', '.join(known_keys(family, key))})")
    if key == "seed":
        raise UserError(f"{option}: the seed is not a hyperparameter to search; give --seeds")
    where = f"{option} {text}"
    if match := _RANGE.fullmatch(text):
        return _range(where, section, key, field, match)
    values = tuple(normal(field, key, value, where) for value in _values(text, where))
    for at, value in enumerate(values):
        if any(value == other and type(value) is type(other) for other in values[:at]):
            raise UserError(f"{where}: {value} is given twice")
    return Axis(section=section, key=key, choices=values)


def _values(text: str, where: str) -> list[Any]:
    try:
        values = read_yaml(f"[{text}]") if text.strip() else []
    except ValueError as error:
        raise UserError(f"{where}: must be values joined by commas: {error}") from None
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_CHOICES:
        raise UserError(f"{where}: give 1 to {MAX_CHOICES} values joined by commas, or LOW:HIGH")
    return values


def normal(field: FieldInfo, key: str, value: Any, where: str) -> Any:
    """A value as the configuration keeps it: 5e-5, a text in YAML, is a number. UserError: not its value."""
    # The field alone: how it goes with others is seen when a trial has all of its values.
    *path, last = key.split(".")
    fields: dict[str, Any] = {last: (field.annotation, field)}
    nested: dict[str, Any] = {last: value}
    for name in reversed(path):
        fields, nested = {name: (create_model(name, __base__=Strict, **fields), ...)}, {name: nested}
    alone = create_model("Alone", __base__=Strict, **fields)
    return get_value(parse(alone, nested, where).model_dump(mode="json"), key)


def _range(where: str, section: Section, key: str, field: FieldInfo, match: re.Match[str]) -> Axis:
    allowed = get_args(field.annotation) or (field.annotation,)
    is_whole = int in allowed
    if not (is_whole or float in allowed):
        raise UserError(f"{where}: {key} is not a number; give values joined by commas")
    ends = [normal(field, key, int(end) if is_whole and end.isdigit() else float(end), where) for end in match.groups()]
    low, high = (float(end) for end in ends)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"{where}: a range goes from a lower to a higher number")
    return Axis(section=section, key=key, low=low, high=high, is_log=key in _LOG, is_whole=is_whole)
