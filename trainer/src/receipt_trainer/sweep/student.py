"""Student's t distribution, in plain Python: the base install has no numerical library."""

from __future__ import annotations

import math
from typing import Final

_MAX_TERMS: Final = 500
_MAX_HALVINGS: Final = 200
_TINY: Final = 1e-300
_CLOSE: Final = 1e-15


def two_sided_p(t: float, df: float) -> float:
    """The chance that |T| is at least |t| for `df` degrees of freedom (any positive number)."""
    return _incomplete_beta(df / 2, 0.5, df / (df + t * t))


def critical(alpha: float, df: float) -> float:
    """The t that |T| exceeds with the chance `alpha` (0 to 1, exclusive), found by halving an interval."""
    low, high = 0.0, 1.0
    while two_sided_p(high, df) > alpha and high < 1e150:
        high *= 2
    for _ in range(_MAX_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if two_sided_p(middle, df) > alpha:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function (Abramowitz & Stegun 26.5.8, by Lentz's method)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x),
    )
    # The fraction converges fast on the left of the mean only; on the right the mirrored one does.
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    def away_from_zero(value: float) -> float:
        return value if abs(value) > _TINY else _TINY

    c, d = 1.0, 1 / away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MAX_TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / away_from_zero(1 + term * d)
            c = away_from_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    return value
