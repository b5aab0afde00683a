"""Objectives by which sweeps rank trials, and whether higher is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from receipt_trainer.contract.job import Family
from receipt_trainer.errors import UserError

ObjectiveName = Literal["f1", "eval_loss", "field_accuracy", "teds"]


@dataclass(frozen=True, slots=True)
class Objective:
    """A score of a run.

    Attributes:
        title: in tables and sentences.
        metric: name of the METRIC rows that hold it.
        is_lower_better: a loss, whose lowest value is the best.
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
    """The objective of a sweep.

    Raises:
        UserError: runs of the family have none such, or trials cannot be pruned by it.
    """
    known = OF_FAMILY[family]
    name = known[0] if asked is None else asked
    if name not in known:
        raise UserError(f"--objective {name}: runs of the family {family} have {', '.join(known)}")
    if prune and not OBJECTIVES[name].is_curve:
        raise UserError(f"--prune needs a score of every evaluation, and {name} is known only at the end: leave it out")
    return name
