"""Paired bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest

from receipt_trainer.evaluation.bootstrap import paired_interval
from receipt_trainer.evaluation.ratio import Share


def shares(values: list[float]) -> list[Share]:
    return [Share(value, 1) for value in values]


def test_the_interval_of_a_mean() -> None:
    """For a mean of many differences it is the mean plus and minus 1.96 standard errors, nearly."""
    random = np.random.default_rng(3)
    first, second = random.uniform(0.2, 0.6, 400), random.uniform(0.3, 0.7, 400)
    found = paired_interval(shares(first.tolist()), shares(second.tolist()), seed=1)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    mean, error = (second - first).mean(), (second - first).std(ddof=1) / 20
    assert found.difference == pytest.approx(mean)
    assert found.low == pytest.approx(mean - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(mean + 1.96 * error, abs=0.1 * error)
    assert found.method == "bca"
    assert found.excludes_zero


@pytest.mark.parametrize(("documents", "found"), [(12, 0.6), (20, 0.9), (40, 0.98)])
def test_the_verdict_keeps_its_error_rate(documents: int, found: float) -> None:
    """Equal models on few documents of 20 fields are told apart in at most 6 % of 400 pairs; half the errors mended is
    seen in most."""
    random = np.random.default_rng(documents)

    def rate(gain: float, pairs: int) -> float:
        shown = 0
        for _ in range(pairs):
            share = random.beta(8, 2, documents)
            sides = [random.binomial(20, p) for p in (share, share + gain * (1 - share))]
            first, second = ([Share(float(hits), 20) for hits in side] for side in sides)
            interval = paired_interval(first, second, seed=1, num_resamples=500)
            shown += interval is not None and interval.is_shown
        return shown / pairs

    assert rate(0.0, 400) <= 0.06
    assert rate(0.5, 100) >= found


def test_pairs_are_kept_together() -> None:
    """Documents that differ much among each other, but always by the same, leave no doubt about the difference."""
    first = [0.1, 0.9, 0.3, 0.7, 0.5, 0.2, 0.8, 0.4, 0.6, 0.0]
    found = paired_interval(shares(first), shares([value + 0.05 for value in first]), seed=1)
    assert found is not None
    assert found.low == pytest.approx(0.05)
    assert found.high == pytest.approx(0.05)
    assert found.excludes_zero


def test_totals_weigh() -> None:
    """The score is hits over tries of all documents, not a mean of shares: 11/110 against 20/110."""
    first, second = [Share(1, 10), Share(10, 100)], [Share(10, 10), Share(10, 100)]
    found = paired_interval(first, second, seed=1)
    assert found is not None
    assert found.difference == pytest.approx(9 / 110)


def test_equal_models() -> None:
    """Equal answers: an interval of 0 alone, which does not exclude 0."""
    values = shares([0.5, 1.0, 0.0])
    found = paired_interval(values, values, seed=1)
    assert found is not None
    assert (found.difference, found.low, found.high, found.method) == (0.0, 0.0, 0.0, "percentile")
    assert not found.excludes_zero


def test_skewed_differences_move_the_interval() -> None:
    """One document of thirty that gains much: BCa reaches further to that side than to the other."""
    first, second = shares([0.0] * 30), shares([0.02 * (n % 3) for n in range(29)] + [1.0])
    found = paired_interval(first, second, seed=1)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.method == "bca"
    assert found.high - found.difference > 1.5 * (found.difference - found.low)


def test_too_little() -> None:
    """One document has no interval, nine have one that shows nothing yet, no try has no score."""
    alone = paired_interval([Share(0, 1)], [Share(1, 1)], seed=1)
    assert alone is not None
    assert (alone.difference, alone.low, alone.excludes_zero) == (1.0, None, False)
    nine, ten = (paired_interval(shares([0.0] * count), shares([0.5] * count), seed=1) for count in (9, 10))
    assert nine is not None
    assert ten is not None
    assert (nine.low, nine.excludes_zero, ten.low, ten.excludes_zero) == (0.5, False, 0.5, True)
    assert paired_interval([Share(0, 0)], [Share(1, 1)], seed=1) is None
    assert paired_interval([], [], seed=1) is None


def test_documents_without_tries() -> None:
    """They are not drawn; resamples in which a model has no try are left out."""
    first = [Share(0, 0), Share(1, 2), Share(0, 0), Share(2, 2)]
    second = [Share(0, 0), Share(2, 2), Share(1, 1), Share(2, 2)]
    found = paired_interval(first, second, seed=1)
    assert found is not None
    assert found.num_documents == 3
    assert found.difference == pytest.approx(1 - 3 / 4)
    assert found.low is not None
    assert 0 <= found.low <= 0.25


def test_the_seed_decides() -> None:
    """The same seed gives the same interval, whatever was drawn before; another seed moves it a little."""
    random = np.random.default_rng(5)
    first, second = shares(random.random(50).tolist()), shares(random.random(50).tolist())
    one = paired_interval(first, second, seed=1)
    np.random.default_rng().random(10)
    assert one == paired_interval(first, second, seed=1)
    other = paired_interval(first, second, seed=2)
    assert one is not None
    assert other is not None
    assert one.low != other.low
    assert one.low == pytest.approx(other.low, abs=0.02)


def test_the_interval_covers() -> None:
    """Of 200 experiments with a true difference of 0.1, about 95 % of the intervals hold it."""
    random = np.random.default_rng(11)
    held = 0
    for _ in range(200):
        first, second = random.random(40) < 0.5, random.random(40) < 0.6
        found = paired_interval(shares(first.tolist()), shares(second.tolist()), seed=1, num_resamples=1000)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.1 <= found.high
    assert 0.90 <= held / 200 <= 0.99
