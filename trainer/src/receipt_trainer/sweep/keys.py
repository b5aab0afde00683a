"""The hyperparameters of a job by their keys; a dot leads into a section: `lora.r`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.config.paddleocr_vl import SHORT_NAMES, VlDataConfig, VlTrainingConfig
from receipt_trainer.contract.job import Family

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


def field(config: type[BaseModel], key: str) -> FieldInfo | None:
    """The field of this key; None if there is none, or if it is a section."""
    *path, last = key.split(".")
    for name in path:
        inner = _inner(config.model_fields.get(name))
        if inner is None:
            return None
        config = inner
    found = config.model_fields.get(last)
    return None if _inner(found) is not None else found


def known(family: Family, near: str) -> list[str]:
    """All keys of a family; where `near` begins with the name of a section, those of that section."""
    every = sorted(key for config in sections(family).values() for key in _keys(config))
    within = [key for key in every if key.startswith(f"{near.partition('.')[0]}.")]
    return within or every


def get(values: Mapping[str, Any], key: str) -> Any:
    """The value of a key."""
    return reduce(lambda inner, name: inner[name], key.split("."), values)


def put(values: dict[str, Any], key: str, value: Any) -> None:
    """Set the value of a key whose section is there."""
    *path, last = key.split(".")
    reduce(lambda inner, name: inner[name], path, values)[last] = value


def nested(key: str, value: Any) -> dict[str, Any]:
    """A mapping that has this key alone."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return dict(value)


def _keys(config: type[BaseModel]) -> Iterator[str]:
    for name, one in config.model_fields.items():
        inner = _inner(one)
        if inner is not None:
            yield from (f"{name}.{key}" for key in _keys(inner))
        elif name != "seed":
            yield name


def _inner(one: FieldInfo | None) -> type[BaseModel] | None:
    kind = one.annotation if one is not None else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
