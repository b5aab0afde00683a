"""Confidence intervals of the difference of two models, documents drawn in pairs with replacement."""

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
    """

    difference: float
    low: float | None
    high: float | None
    level: float
    method: Literal["bca", "percentile", "none"]
    num_documents: int

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 is outside the interval of enough documents: a difference that their choice seldom makes."""
        if self.low is None or self.high is None or self.num_documents < MIN_DOCUMENTS:
            return False
        return self.low > 0 or self.high < 0


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
    if math.isfinite(low) and math.isfinite(high):
        return Interval(observed, float(low), float(high), level, "bca", len(tries))
    drawn = found.bootstrap_distribution
    low, high = np.quantile(drawn[np.isfinite(drawn)], ((1 - level) / 2, (1 + level) / 2))
    return Interval(observed, float(low), float(high), level, "percentile", len(tries))


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
