"""How far a job is and how fast it goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from receipt_trainer.jobs.curves import Pace, Point, pace_of

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def point(step: int, second: float, steps_of_epoch: int = 50) -> Point:
    """A loss that was logged so many seconds after noon."""
    return Point(step, step / steps_of_epoch, 1.0, (NOON + timedelta(seconds=second)).isoformat())


def test_a_steady_job() -> None:
    """Two steps a second, 100 of 150 steps done: a third is left, for 25 seconds."""
    found = pace_of({"training_config": {"num_epochs": 3.0}}, [point(at, at / 2) for at in (80, 90, 100)], running=True)
    assert found == Pace(100, 150, 2.0, 25.0)
    assert found.share == pytest.approx(2 / 3)


def test_the_total_follows_from_the_job() -> None:
    """max_steps counts where it is set; half an epoch is counted up; without either the total is not known."""
    losses = [point(10, 0)]
    totals: list[tuple[dict[str, float], int | None]] = [
        ({"max_steps": 40, "num_epochs": 3}, 40),
        ({"num_epochs": 2.5}, 125),
        ({"max_steps": 0, "num_train_epochs": 2.5}, 125),
        ({}, None),
    ]
    for training, total in totals:
        assert pace_of({"training_config": training}, losses, running=True).num_steps == total
    assert pace_of({}, losses, running=True).share is None


def test_a_pause_is_no_work() -> None:
    """A row that came an hour after the one before, as after an interruption, does not make a job slow."""
    losses = [point(10, 0), point(20, 5), point(30, 3600), point(40, 3605), point(50, 3610)]
    found = pace_of({"training_config": {"max_steps": 60}}, losses, running=True)
    assert found.steps_per_s == pytest.approx(2.0)
    assert found.left_s == pytest.approx(5.0)


def test_what_cannot_be_told_is_not() -> None:
    """Before the first loss nothing is known; of one loss, and of a job that does not run, no speed."""
    assert pace_of({}, [], running=True) == Pace()
    assert pace_of({}, [point(10, 1)], running=True) == Pace(10)
    assert pace_of({}, [point(10, 1), point(20, 2)], running=False) == Pace(20)
    assert pace_of({}, [point(10, 1), point(20, 1)], running=True).steps_per_s is None
