"""Many runs side by side: the best first, and whether it is better than the noise of its seeds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Final, TypeVar

from receipt_trainer.sweep import plan
from receipt_trainer.sweep.definition import OBJECTIVES, Definition, Objective
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


LEVEL: Final = 0.95
"""Of the intervals."""
SWEEP_AGAIN: Final = "Sweep the few best values again under another --name with --seeds 0,1,2 or more."
"""Advice where trials have one seed."""


@dataclass(frozen=True, slots=True)
class Scores:
    """A finished trial: the score of each seed, and what it is called."""

    trial: int
    values: tuple[float, ...]
    name: str = ""

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.values)


@dataclass(frozen=True, slots=True)
class TrialComparison:
    """The best trial's mean score minus that of the runner-up or the base, with the interval of the true difference.

    Attributes:
        df: degrees of freedom (Welch & Satterthwaite).
        num_comparisons: for how many the interval is widened (Bonferroni).
        is_lower_better: whether the score is a loss; then a better trial's difference is below zero.
    """

    trial: int
    role: str
    difference: float
    low: float
    high: float
    df: float
    num_comparisons: int
    is_lower_better: bool = False
    name: str = ""

    @property
    def is_better(self) -> bool:
        """Whether the entire interval lies on the better side of zero."""
        return self.high < 0 if self.is_lower_better else self.low > 0


@dataclass(frozen=True, slots=True)
class Significance:
    """The comparison of the scores.

    Attributes:
        best: number of the trial with the best mean; None if no trial has finished.
        is_better: whether it is better than the runner-up beyond the noise; None if that cannot be said.
        text: the same in words.
    """

    best: int | None
    is_better: bool | None
    num_trials: int
    text: str
    comparisons: tuple[TrialComparison, ...] = ()


def compare(
    best: Scores, other: Scores, role: str, num_comparisons: int = 1, objective: Objective = OBJECTIVES["f1"]
) -> TrialComparison | None:
    """Welch's interval, which takes no equal spread for granted; None without two seeds each, or without any spread."""
    if min(len(best.values), len(other.values)) < 2:
        return None
    if variance(best.values) + variance(other.values) <= 0:
        return None
    # Of the extra `sweep`; with one seed a trial nothing needs it.
    from scipy import stats  # type: ignore[import-untyped]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # seeds that score alike are reported in words
        tested = stats.ttest_ind(best.values, other.values, equal_var=False)
    low, high = map(float, tested.confidence_interval(1 - (1 - LEVEL) / num_comparisons))
    return TrialComparison(
        other.trial,
        role,
        best.mean - other.mean,
        low,
        high,
        float(tested.df),
        num_comparisons,
        objective.is_lower_better,
        other.name,
    )


def judge(
    finished: Sequence[Scores],
    base: int | None = None,
    *,
    objective: Objective = OBJECTIVES["f1"],
    advice: str = SWEEP_AGAIN,
) -> Significance:
    """Compare the best trial with the runner-up and with the base.

    The runner-up needs no wider interval however many trials there are: among equal trials the two best lie close
    together (Gutmann & Maymin 1987, Annals of Statistics 15, 456-461). The base is one trial fixed beforehand, and
    the best was picked from all others: that interval is widened by their number (Bonferroni).

    Args:
        finished: trials all of whose seeds have a score, no trial twice.
        base: number of the trial that has the base's values.
        objective: what the scores are.
        advice: what to do where trials have one seed.
    """
    ranked = sorted(finished, key=lambda scores: (objective.cost(scores.mean), scores.trial))
    if len(ranked) < 2:
        only = ranked[0].trial if ranked else None
        return Significance(
            only, None, len(ranked), f"{_count(len(ranked))} finished: there is nothing to compare yet."
        )
    best, second = ranked[0], ranked[1]
    others = [(second, "runner-up", 1)]
    others += [(scores, "base", len(ranked) - 1) for scores in ranked[1:] if scores.trial == base]
    found = [compare(best, scores, role, num, objective) for scores, role, num in others]
    known = tuple(comparison for comparison in found if comparison is not None)
    lead = found[0]
    reasons = _reasons(best, second, known, objective, advice)
    text = " ".join([_opening(best, second, len(ranked), base, objective), *reasons])
    return Significance(best.trial, None if lead is None else lead.is_better, len(ranked), text, known)


def _count(number: int) -> str:
    return {0: "No trial has", 1: "Only one trial has"}.get(number, f"{number} trials have")


def _opening(best: Scores, second: Scores, num_trials: int, base: int | None, objective: Objective) -> str:
    seeds = f"{len(best.values)} seed{'s' if len(best.values) > 1 else ''}"
    is_base = ", the base," if best.trial == base else ""
    ties = " and shares that place" if best.mean == second.mean else ""
    which = f"{objective.best_word} mean {objective.title} of {num_trials}"
    how = " (lower is better)" if objective.is_lower_better else ""
    return f"{best.name or f'Trial {best.trial}'}{is_base} has the {which}{how}{ties}: {best.mean:.4f} over {seeds}."


def _reasons(
    best: Scores, second: Scores, known: Sequence[TrialComparison], objective: Objective, advice: str
) -> list[str]:
    said = [_said(comparison) for comparison in known]
    if not known or known[0].role != "runner-up":
        if min(len(best.values), len(second.values)) < 2:
            said.append(
                f"How much the {objective.title} changes with the seed alone is unknown, because the best trials have "
                f"one seed: this rank says nothing yet. {advice}"
            )
        else:
            said.append("All seeds of both scored alike, which measures no noise: validate on more documents.")
    else:
        said.append("The best of several is partly luck: with new seeds expect it worse than here.")
    return said


def _said(comparison: TrialComparison) -> str:
    better = "It is better than" if comparison.is_better else "It is not better, beyond the noise of the seeds, than"
    widened = f", widened for {comparison.num_comparisons} comparisons" if comparison.num_comparisons > 1 else ""
    whose = comparison.name or f"trial {comparison.trial}"
    return (
        f"{better} the {comparison.role} ({whose}): the difference is {comparison.difference:.4f}, "
        f"{LEVEL:.0%} interval {comparison.low:.4f} to {comparison.high:.4f}{widened}."
    )


def verdict_of(definition: Definition, trials: Sequence[Trial]) -> Significance:
    """Compare the complete trials."""
    own = [trial for trial in trials if trial.same_as is None]
    base = plan.base_params(definition)
    same = next((trial.number for trial in own if trial.params == base), None)
    finished = [Scores(trial.number, trial.scores) for trial in own if trial.value is not None]
    return judge(finished, same, objective=definition.goal)
