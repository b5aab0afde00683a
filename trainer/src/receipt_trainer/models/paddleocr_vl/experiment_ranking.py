"""Which experiment is the best, by one measure or another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from receipt_trainer.models.paddleocr_vl.experiment_log import Result

Criterion = Literal["eval_loss", "field_accuracy", "teds", "stability", "time"]
Key = tuple[float, ...]


def _stability(result: Result) -> Key | None:
    return None if result.spikes is None or result.spread is None else (result.spikes, result.spread)


def _value(name: str, sign: float) -> Callable[[Result], Key | None]:
    def key(result: Result) -> Key | None:
        value = getattr(result, name)
        return None if value is None else (sign * value,)

    return key


CRITERIA: Final[Mapping[Criterion, Callable[[Result], Key | None]]] = {
    "eval_loss": _value("eval_loss", 1),
    "field_accuracy": _value("present_accuracy", -1),
    "teds": _value("teds", -1),
    "stability": _stability,
    "time": _value("hours", 1),
}
"""Each as a key of which the smallest is the best; None where the result has no such value.

Field accuracy is that over the fields which documents have: over all fields, leaving fields out would be rewarded.
"""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A result with its place by each criterion, from 1; equal values share a place. No place without a value."""

    result: Result
    places: Mapping[Criterion, int | None]


def rank(results: Sequence[Result], by: Criterion) -> list[Ranked]:
    """The best by `by` first; ties by the other criteria in their order, then by name.

    What has no value by `by` comes after all that have one, and failed experiments, which are ranked by nothing, last.
    """
    complete = [result for result in results if result.status == "complete"]
    keys = {name: [key for one in complete if (key := of(one)) is not None] for name, of in CRITERIA.items()}

    def place(result: Result, name: Criterion) -> int | None:
        key = CRITERIA[name](result) if result.status == "complete" else None
        return None if key is None else 1 + sum(other < key for other in keys[name])

    ranked = [Ranked(result, {name: place(result, name) for name in CRITERIA}) for result in results]
    order = [by, *(name for name in CRITERIA if name != by)]
    last = len(results) + 1

    def position(one: Ranked) -> tuple[bool, list[int], str]:
        return one.result.status != "complete", [one.places[name] or last for name in order], one.result.name

    return sorted(ranked, key=position)
