"""Differences of two models on the same documents: confidence intervals, and whether they are more than chance.

Intervals are from documents drawn in pairs with replacement. With few documents they are too narrow, so that
an interval without 0 is not enough: a paired permutation test has to agree.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning, bootstrap  # type: ignore[import-untyped]

from receipt_trainer.evaluation.ratio import Share

NUM_RESAMPLES: Final = 10_000
MIN_DOCUMENTS: Final = 10
"""With fewer, resamples show too little of what other documents would do: an interval is given and not believed."""
_CHUNK: Final = 2_000_000
"""Documents that are drawn at once, over all resamples: what memory holds of them."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference (second minus first) with its confidence interval.

    Attributes:
        low, high: ends of the interval; None where there are fewer than two documents to draw from.
        method: `bca` (Efron 1987); `percentile` where BCa's corrections are not defined (differences that do not
            vary, or resamples without a try).
        num_documents: documents on which either model has a try.
        p_value: how often models that do not differ give at least this difference: both answers to a document change
            sides at random. None where the interval has no ends.
    """

    difference: float
    low: float | None
    high: float | None
    level: float
    method: Literal["bca", "percentile", "none"]
    num_documents: int
    p_value: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 is outside the interval of enough documents."""
        if self.low is None or self.high is None or self.num_documents < MIN_DOCUMENTS:
            return False
        return self.low > 0 or self.high < 0

    @property
    def is_shown(self) -> bool:
        """Whether the difference is more than chance: 0 is outside the interval, and the test agrees."""
        return self.excludes_zero and self.p_value is not None and self.p_value <= 1 - self.level


def paired_interval(
    first: Sequence[Share],
    second: Sequence[Share],
    *,
    seed: int,
    level: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
) -> Interval | None:
    """Interval of a score's difference, from its shares on the same documents in the same order.

    The score is the sum of hits over the sum of totals, as it is reported, so each resample divides sums anew.
    None if a model has no try on any document: then there is no score.
    """
    tries = [(a, b) for a, b in zip(first, second, strict=True) if a.total or b.total]
    if not sum(a.total for a, _ in tries) or not sum(b.total for _, b in tries):
        return None
    parts = np.array([(a.hits, a.total, b.hits, b.total) for a, b in tries]).T
    observed = float(_difference(*parts))
    if len(tries) < 2:
        return Interval(observed, None, None, level, "none", len(tries))
    with warnings.catch_warnings(action="ignore", category=DegenerateDataWarning):
        found = bootstrap(
            tuple(parts),
            _difference,
            paired=True,
            vectorized=True,
            n_resamples=num_resamples,
            batch=max(1, _CHUNK // len(tries)),
            confidence_level=level,
            method="BCa",
            rng=seed,
        )
    low, high = found.confidence_interval
    method: Literal["bca", "percentile"] = "bca"
    if not (math.isfinite(low) and math.isfinite(high)):
        drawn, method = found.bootstrap_distribution, "percentile"
        low, high = np.quantile(drawn[np.isfinite(drawn)], ((1 - level) / 2, (1 + level) / 2))
    p_value = _p_value(parts, seed, num_resamples)
    return Interval(observed, float(low), float(high), level, method, len(tries), p_value)


def _p_value(parts: NDArray[np.float64], seed: int, num_swaps: int) -> float:
    """Of the paired permutation test, two-sided; the answers as they are count as one of the swaps.

    Args:
        parts: (4, documents): hits and total of the first and of the second model.
    """
    first, second = parts[:2], parts[2:]
    both, random = parts.sum(axis=1), np.random.default_rng(seed)
    least = abs(float(_difference(*both[:, None]))) * (1 - 1e-9)
    count, batch = 0, max(1, _CHUNK // parts.shape[1])
    for start in range(0, num_swaps, batch):
        swapped = random.integers(2, size=(min(batch, num_swaps - start), parts.shape[1])).astype(np.float64)
        moved = swapped @ (second - first).T
        one, other = both[:2] + moved, both[2:] - moved
        # A model without a try has no score then: the swap counts as one that differs.
        found = _difference(*one.T[..., None], *other.T[..., None])
        count += int(np.count_nonzero(~(np.abs(found) < least)))
    return (1 + count) / (1 + num_swaps)


def _difference(
    hits: NDArray[np.float64],
    total: NDArray[np.float64],
    other_hits: NDArray[np.float64],
    other_total: NDArray[np.float64],
    axis: int = -1,
) -> Any:
    """Second score minus first; NaN where one has no tries."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return other_hits.sum(axis) / other_total.sum(axis) - hits.sum(axis) / total.sum(axis)
