"""Confidence intervals of the difference of two models, documents drawn in pairs with replacement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from receipt_trainer.evaluation.ratio import Share

NUM_RESAMPLES: Final = 10_000
MIN_DOCUMENTS: Final = 10
"""With fewer, resamples show too little of what other documents would do: an interval is given and not believed."""

_CHUNK: Final = 2_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference (second minus first) with its confidence interval.

    Attributes:
        low, high: ends of the interval; None where there are fewer than two documents to draw from.
        method: `bca` (Efron 1987); `percentile` where BCa's corrections are not defined (differences that do not vary).
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
    parts = np.array([(a.hits, a.total, b.hits, b.total) for a, b in tries])
    observed = float(_difference(parts.sum(axis=0)))
    if len(tries) < 2:
        return Interval(observed, None, None, level, "none", len(tries))
    drawn = _resample(parts, num_resamples, seed)
    tails = ((1 - level) / 2, (1 + level) / 2)
    corrected = _bca_tails(drawn, parts, observed, tails)
    low, high = np.quantile(drawn, corrected or tails)
    return Interval(observed, float(low), float(high), level, "bca" if corrected else "percentile", len(tries))


def _difference(sums: Floats) -> Floats:
    """Second score minus first, of sums (..., 4); NaN where one has no tries."""
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = sums[..., 2] / sums[..., 3] - sums[..., 0] / sums[..., 1]
    return result


def _resample(parts: Floats, count: int, seed: int) -> Floats:
    """Differences of `count` resamples; those in which a score has no tries are left out."""
    random = np.random.default_rng(seed)
    drawn = []
    rows = max(1, _CHUNK // len(parts))
    for start in range(0, count, rows):
        size = (min(rows, count - start), len(parts))
        drawn.append(_difference(parts[random.integers(0, len(parts), size)].sum(axis=1)))
    values = np.concatenate(drawn)
    return values[np.isfinite(values)]


def _bca_tails(drawn: Floats, parts: Floats, observed: float, tails: tuple[float, float]) -> tuple[float, float] | None:
    """The quantiles to take for `tails`, corrected for bias and acceleration; None where they are not defined."""
    below = float(np.mean(drawn < observed) + np.mean(drawn == observed) / 2)
    without_one = _difference(parts.sum(axis=0) - parts)
    if not 0 < below < 1 or not np.isfinite(without_one).all():
        return None
    off = without_one.mean() - without_one
    spread = float((off**2).sum())
    if spread <= 1e-24:
        return None
    acceleration = float((off**3).sum()) / (6 * spread**1.5)
    normal = NormalDist()
    bias = normal.inv_cdf(below)

    def corrected(tail: float) -> float:
        reach = bias + normal.inv_cdf(tail)
        return normal.cdf(bias + reach / (1 - acceleration * reach))

    return corrected(tails[0]), corrected(tails[1])
