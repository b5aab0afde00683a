"""What a sweep varies: one hyperparameter an axis, as a list of values or as a range."""

from __future__ import annotations

import math
import re
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, create_model

from receipt_trainer.config import DataConfig, TrainingConfig, parse, read_yaml
from receipt_trainer.config_vl import SHORT_NAMES, VlJobData, VlJobTraining, is_vl_model
from receipt_trainer.errors import UserError

Section = Literal["training_config", "data_config"]

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


def sections(model: str) -> dict[Section, type[BaseModel]]:
    """The configuration of each section of a job of this model's family."""
    if is_vl_model(model):
        return {"training_config": VlJobTraining, "data_config": VlJobData}
    return {"training_config": TrainingConfig, "data_config": DataConfig}


def canonical(key: str, model: str) -> str:
    """The name of a field in a job of this model's family, whose short names are understood."""
    return SHORT_NAMES.get(key, key) if is_vl_model(model) else key


def read_axis(option: str, key: str, text: str, model: str) -> Axis:
    """The axis of a command line's option.

    Args:
        option: for messages, such as "--learning-rates".
        key: a field of one of the two configurations.
        text: values joined by commas, in YAML; or LOW:HIGH.
        model: of the job; it says which fields there are.

    Raises:
        UserError: an unknown field, a value that it does not take, a value twice, or no value.
    """
    key = canonical(key, model)
    known = sections(model)
    section = next((name for name, config in known.items() if key in config.model_fields), None)
    if section is None:
        fields = sorted({field for config in known.values() for field in config.model_fields} - {"seed"})
        raise UserError(f"{option}: unknown key '{key}' (known: {', '.join(fields)})")
    if key == "seed":
        raise UserError(f"{option}: seeds are no hyperparameter to choose from; give --seeds")
    where = f"{option} {text}"
    if match := _RANGE.fullmatch(text):
        return _range(where, section, key, known[section], match)
    values = tuple(normal(known[section], key, value, where) for value in _values(text, where))
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


def normal(config: type[BaseModel], key: str, value: Any, where: str) -> Any:
    """A value as the configuration keeps it: 5e-5 is a text in YAML, and a number in a job.

    Raises:
        UserError: the field does not take it.
    """
    # The field alone: how it goes with others is seen when a trial has all of its values.
    alone = create_model(config.__name__, __config__=config.model_config, **{key: _typed(config, key)})
    return parse(alone, {key: value}, where).model_dump(mode="json")[key]


def _typed(config: type[BaseModel], key: str) -> Any:
    field = config.model_fields[key]
    return field.annotation, field


def _range(where: str, section: Section, key: str, config: type[BaseModel], match: re.Match[str]) -> Axis:
    allowed = get_args(config.model_fields[key].annotation) or (config.model_fields[key].annotation,)
    is_whole = int in allowed
    if not (is_whole or float in allowed):
        raise UserError(f"{where}: {key} is no number; give values joined by commas")
    ends = [
        normal(config, key, int(end) if is_whole and end.isdigit() else float(end), where) for end in match.groups()
    ]
    low, high = (float(end) for end in ends)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"{where}: a range goes from a lower to a higher number")
    return Axis(section=section, key=key, low=low, high=high, is_log=key in _LOG, is_whole=is_whole)
