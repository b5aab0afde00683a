"""Many runs side by side: the best first, and whether it is better than the noise of its seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from receipt_trainer.sweep import plan
from receipt_trainer.sweep.definition import Definition
from receipt_trainer.sweep.objective import Objective
from receipt_trainer.sweep.significance import Scores, Significance, judge
from receipt_trainer.sweep.trial import ENDED, Trial

T = TypeVar("T")
Key = tuple[float, ...]
"""Sort key; the best has the smallest."""


def best_first(items: Iterable[T], *keys: Callable[[T], Key | None]) -> list[T]:
    """Sorted by the first key, the smallest first; ties by the next ones. What has no key comes after what has one."""
    return sorted(items, key=lambda item: [(found is None, found or ()) for found in (key(item) for key in keys)])


def ranked(trials: Sequence[Trial], objective: Objective) -> list[Trial]:
    """The best complete trial first, then running ones, then the rest; a double of an earlier one is left out."""

    def cost(value: float | None) -> Key | None:
        return None if value is None else (objective.cost(value),)

    return best_first(
        (trial for trial in trials if trial.same_as is None),
        lambda trial: cost(trial.value),
        lambda trial: (trial.state in ENDED,),
        lambda trial: cost(trial.last_score),
        lambda trial: (trial.number,),
    )


def verdict_of(definition: Definition, trials: Sequence[Trial]) -> Significance:
    """Compare the complete trials."""
    own = [trial for trial in trials if trial.same_as is None]
    base = plan.base_params(definition)
    same = next((trial.number for trial in own if trial.params == base), None)
    finished = [Scores(trial.number, trial.scores) for trial in own if trial.value is not None]
    return judge(finished, same, objective=definition.goal)
