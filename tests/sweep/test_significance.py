from __future__ import annotations

import random

import pytest

from receipt_trainer.sweep.ranking import Scores, compare, judge


def test_welchs_interval_by_hand() -> None:
    """Variances .0004 and .0001 over three seeds each: se^2 = 1/6000, df = 50/17, t(.975) = 3.2188, half = .0416."""
    best, other = Scores(0, (0.90, 0.92, 0.94)), Scores(1, (0.80, 0.81, 0.82))
    found = compare(best, other, "runner-up")
    assert found is not None
    assert found.df == pytest.approx(50 / 17)
    assert found.difference == pytest.approx(0.11)
    assert (found.low, found.high) == pytest.approx((0.11 - 0.041553, 0.11 + 0.041553), abs=1e-5)


@pytest.mark.parametrize(("lead", "is_better"), [(0.0226, False), (0.0228, True)])
def test_the_edge_of_the_noise(lead: float, is_better: bool) -> None:
    """Equal variances .0001, three seeds each: df = 4, and a lead counts from 2.7764 * sqrt(.0002/3) = .02267 on."""
    other = Scores(1, (0.80, 0.81, 0.82))
    verdict = judge([other, Scores(2, tuple(f1 + lead for f1 in other.values))])
    assert (verdict.best, verdict.is_better) == (2, is_better)


def test_the_base_is_compared_with_the_best_of_many() -> None:
    """Of three trials the best was picked: its interval against the base is that of alpha / 2, t(4) = 3.4954."""
    trials = [Scores(at, tuple(mean + step for step in (-0.01, 0, 0.01))) for at, mean in enumerate((0.80, 0.84, 0.83))]
    verdict = judge(trials, base=0)
    runner_up, base = verdict.comparisons
    assert (runner_up.trial, runner_up.num_comparisons, base.trial, base.num_comparisons) == (2, 1, 0, 2)
    assert base.high - base.difference == pytest.approx(3.49541 * (0.0002 / 3) ** 0.5, abs=1e-6)
    assert (runner_up.is_better, base.is_better) == (False, True)
    assert "It is not better, beyond the noise of the seeds, than the runner-up (trial 2)" in verdict.text
    assert "It is better than the base (trial 0)" in verdict.text
    assert "widened for 2 comparisons" in verdict.text
    assert "highest mean F1 of 3" in verdict.text


def test_one_seed_says_nothing_of_the_noise() -> None:
    """The rank is given, no verdict, and how to come to one."""
    verdict = judge([Scores(0, (0.80,)), Scores(1, (0.90,))], base=0)
    assert (verdict.best, verdict.is_better, verdict.comparisons) == (1, None, ())
    assert "unknown" in verdict.text
    assert "--seeds 0,1,2" in verdict.text


def test_one_trial_whose_seeds_score_alike(recwarn: pytest.WarningsRecorder) -> None:
    """The other's noise counts for both, without a warning of the library on the user's terminal: t(1) * .005."""
    found = compare(Scores(0, (0.8, 0.8)), Scores(1, (0.9, 0.91)), "base")
    assert found is not None
    assert (found.df, found.high - found.difference) == pytest.approx((1, 12.7062 * 0.005), abs=1e-5)
    assert not recwarn.list


def test_seeds_that_score_alike_measure_no_noise() -> None:
    """A spread of zero is no proof, however large the lead."""
    verdict = judge([Scores(0, (0.8, 0.8)), Scores(1, (0.9, 0.9))])
    assert verdict.is_better is None
    assert "measures no noise" in verdict.text


@pytest.mark.parametrize(("scores", "best"), [([], None), ([Scores(4, (0.5, 0.6))], 4)])
def test_nothing_to_compare(scores: list[Scores], best: int | None) -> None:
    """Fewer than two finished trials have no verdict."""
    verdict = judge(scores)
    assert (verdict.best, verdict.is_better) == (best, None)
    assert "nothing to compare" in verdict.text


@pytest.mark.parametrize("num_trials", [2, 12])
def test_equal_trials_are_rarely_called_different(num_trials: int) -> None:
    """Where only the seeds differ, at most one verdict in twenty says better: of the runner-up, and of the base."""
    rng, num_sweeps = random.Random(5), 200
    false = {"runner-up": 0, "base": 0}
    for _ in range(num_sweeps):
        trials = [Scores(at, tuple(rng.gauss(0.9, 0.004) for _ in range(3))) for at in range(num_trials)]
        for comparison in judge(trials, base=0).comparisons:
            false[comparison.role] += comparison.is_better
    assert max(false.values()) <= 0.05 * num_sweeps


def test_a_real_lead_is_found() -> None:
    """A lead of ten standard deviations over three seeds is called better in most sweeps."""
    rng, found = random.Random(6), 0
    for _ in range(50):
        means = [0.85, 0.85, 0.89]
        found += (
            judge([Scores(n, tuple(rng.gauss(m, 0.004) for _ in range(3))) for n, m in enumerate(means)]).is_better
            is True
        )
    assert found >= 45
