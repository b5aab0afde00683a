"""Definition of a sweep: its base, its search space and its method."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from receipt_trainer.config.job_file import AnyJob
from receipt_trainer.contract.job import Family
from receipt_trainer.contract.names import is_job_name
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.routing import resolve
from receipt_trainer.sweep.search_space import Axis

ObjectiveName = Literal["f1", "eval_loss", "field_accuracy", "teds"]


@dataclass(frozen=True, slots=True)
class Objective:
    """A score of a run.

    Attributes:
        metric: name of the METRIC rows that hold it.
        is_curve: whether every evaluation has one; otherwise there is only that of the kept model, at the end.
    """

    name: ObjectiveName
    title: str
    metric: str
    is_lower_better: bool = False
    is_curve: bool = True

    @property
    def best_word(self) -> str:
        """The word for the best value."""
        return "lowest" if self.is_lower_better else "highest"

    def best(self, values: Iterable[float]) -> float:
        """The best of some values, at least one."""
        return min(values) if self.is_lower_better else max(values)

    def cost(self, value: float) -> float:
        """A number to sort by: the best value has the lowest."""
        return value if self.is_lower_better else -value


OBJECTIVES: Final[Mapping[ObjectiveName, Objective]] = {
    "f1": Objective("f1", "F1", "eval_f1"),
    "eval_loss": Objective("eval_loss", "eval loss", "eval_loss", is_lower_better=True),
    "field_accuracy": Objective("field_accuracy", "field accuracy", "field_accuracy", is_curve=False),
    "teds": Objective("teds", "TEDS", "teds", is_curve=False),
}
OF_FAMILY: Final[Mapping[Family, tuple[ObjectiveName, ...]]] = {
    "layoutlm": ("f1", "eval_loss"),
    "paddleocr-vl": ("eval_loss", "field_accuracy", "teds"),
}
"""Objectives of each family; the first is the default of its sweeps."""


def choose(family: Family, asked: ObjectiveName | None, *, prune: bool) -> ObjectiveName:
    """The objective of a sweep; UserError: runs of the family have none such, or trials cannot be pruned by it."""
    known = OF_FAMILY[family]
    name = known[0] if asked is None else asked
    if name not in known:
        raise UserError(f"--objective {name}: runs of the family {family} have {', '.join(known)}")
    if prune and not OBJECTIVES[name].is_curve:
        raise UserError(f"--prune needs a score of every evaluation, and {name} is known only at the end: leave it out")
    return name


Method = Literal["grid", "one-at-a-time", "folder", "random", "tpe"]
ScaleLr = Literal["none", "linear", "sqrt"]
SEARCHES: Final[frozenset[Method]] = frozenset({"random", "tpe"})
"""Methods that propose so many trials, by Optuna's samplers."""

MAX_TRIALS: Final = 1000
MAX_SEEDS: Final = 20
MAX_NAME: Final = 40
"""Characters; trial and seed follow in the job's name."""
_SHOWN: Final = 3
_LONG: Final = 60


class Configuration(BaseModel):
    """A complete configuration that a person has written: one experiment of a folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    changes: str
    model: str
    training_config: dict[str, Any]
    data_config: dict[str, Any]


class Definition(BaseModel):
    """A sweep's definition; it never changes once the sweep is stored.

    `base` is the job that the trials vary, with every hyperparameter in it: what the stack's defaults are later on
    changes no trial.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    base: dict[str, Any]
    family: Family = "layoutlm"
    objective: ObjectiveName = "f1"
    axes: tuple[Axis, ...]
    method: Method = "grid"
    num_trials: int | None = Field(None, description="For random and tpe")
    seeds: tuple[int, ...]
    prune: bool = False
    scale_lr: ScaleLr = "none"
    sampler_seed: int = 0
    queue_url: str | None = None
    configurations: tuple[Configuration, ...] = Field((), description="For folder; the base is the first")

    @property
    def model(self) -> str:
        """Of the base."""
        return str(self.base["model"])

    @property
    def goal(self) -> Objective:
        """The objective that ranks the trials."""
        return OBJECTIVES[self.objective]

    @property
    def is_adaptive(self) -> bool:
        """Whether a process has to look at results for the sweep to continue."""
        return self.method == "tpe" or self.prune

    def to_text(self) -> str:
        """As it is stored."""
        without = set() if self.configurations else {"configurations"}  # as version 0.1.0 wrote it and names it
        return json.dumps(self.model_dump(mode="json", exclude=without), sort_keys=True)

    @classmethod
    def from_text(cls, text: str, name: str) -> Definition:
        """Read what `to_text` wrote; UserError: a newer version of this program wrote it."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            raise UserError(f"sweep '{name}' is stored in a form that this version does not read; update it") from None


def base_of(spec: AnyJob, defaults: Mapping[str, Any] | None) -> dict[str, Any]:
    """The job that the trials vary, resolved; its name is the sweep's business, and its trials send no notices."""
    found = resolve(spec, defaults).asked()
    return {name: value for name, value in found.items() if name not in ("job_name", "notify")}


def default_name(definition: Definition) -> str:
    """A name that the same definition always gets, so that the same command continues the same sweep."""
    text = definition.model_copy(update={"name": ""}).to_text()
    return f"sweep-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def check_name(name: str) -> str:
    """`name`, if it can be one, else UserError."""
    if not is_job_name(name) or len(name) > MAX_NAME:
        raise UserError(f"--name '{name}': use 1 to {MAX_NAME} of A-Z a-z 0-9 . _ - and not '.' or '..'")
    return name


def require_extra() -> None:
    """Look for Optuna and SciPy before anything is stored; UserError: they are not installed."""
    if not all(find_spec(name) for name in ("optuna", "scipy")):
        raise UserError("sweeps need Optuna and SciPy: pip install './trainer[sweep]'")


def refuse_other(asked: Definition, stored: Definition) -> None:
    """Raise UserError, which says what differs, if the sweep of this name is another one."""
    before, after = stored.model_dump(mode="json"), asked.model_dump(mode="json")
    found = list(_differences(before, after))
    if not found:
        return
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise UserError(
        f"sweep '{asked.name}' is there with another definition: {'; '.join(found[:_SHOWN])}{more}. Give another "
        f"--name, or continue it as it is: receipt-trainer sweep --resume {asked.name}"
    )


def _differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    if path == "axes":
        before, after = ({axis["key"]: Axis(**axis).text() for axis in axes} for axes in (before, after))
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                yield from _differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    elif before != after:
        yield f"{path} is {short(before)} there and {short(after)} here"


def short(value: Any) -> str:
    """A value in so many characters at most, for messages."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."
