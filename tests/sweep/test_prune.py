from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from receipt_trainer.jobs.model import Attempt
from receipt_trainer.sweep.definition import OBJECTIVES, Definition
from receipt_trainer.sweep.ranking import ranked, verdict_of
from receipt_trainer.sweep.store import SweepTable
from receipt_trainer.sweep.study import SweepStudy
from receipt_trainer.sweep.trial import Trial
from tests.sweep.world import Dying, Killed, World, axis, definition


def formula(training: Mapping[str, Any]) -> float:
    """F1 .80 to .85; the curve begins at half of it."""
    return float(0.79 + training["num_epochs"] / 100)


@pytest.fixture
def world(jobs_table: str) -> World:
    return World(jobs_table, formula)


def pruned_sweep(world: World) -> Definition:
    return definition(axis("num_epochs", "1,2,3,4,5,6,7"), name="p", prune=True, queue_url=world.queue_url)


def with_five_complete(world: World) -> tuple[Definition, list[Trial], list[Attempt]]:
    """A sweep of seven: five trials are complete with curves from .40 to .84, two are running."""
    of = pruned_sweep(world)
    trials = world.driver(of).advance()
    attempts = [world.claim(trial.runs[0].job_id) for trial in trials]
    held = [attempt for attempt in attempts if attempt is not None]
    for attempt in held[:5]:
        world.finish(attempt)
    return of, world.driver(of).advance(), held[5:]


def test_a_hopeless_trial_is_cancelled_and_counts_as_pruned(world: World) -> None:
    """Below the median twice, its worker is asked to end it; a hopeful one goes on; none of them failed."""
    of, _, (low, high) = with_five_complete(world)
    world.evaluate(low, [0.1, 0.2])
    world.evaluate(high, [0.5, 0.9])
    trials = world.driver(of).advance()
    assert [trial.state for trial in trials] == ["COMPLETE"] * 5 + ["PRUNING", "QUEUED"]
    assert [world.jobs.get(at.job_id).cancel_requested for at in (low, high)] == [True, False]
    world.jobs.end_cancelled(low, "cancelled on request")
    world.finish(high)
    driver = world.driver(of)
    trials = driver.advance()
    assert [trial.state for trial in trials] == ["COMPLETE"] * 5 + ["PRUNED", "COMPLETE"]
    assert trials[5].reason == "worse than the median of the complete trials at evaluation 2"
    assert driver.is_done(trials)
    results = ranked(trials, OBJECTIVES["f1"])
    assert (results[0].number, results[-1].number) == (6, 5)
    assert (results[-1].score, results[-1].last_score) == (None, 0.2)
    assert verdict_of(of, trials).num_trials == 6


def test_a_kill_between_decision_and_cancellation(world: World) -> None:
    """The decision is stored first; the next process carries it out."""
    of, _, (low, _) = with_five_complete(world)
    world.evaluate(low, [0.1, 0.2])
    driver = world.driver(of)
    dying: Any = Dying(world.dynamodb, [1])
    driver.study = SweepStudy(of, SweepTable(dying, world.jobs_table))
    with pytest.raises(Killed):
        driver.advance()
    assert world.trials(of)[5].state == "PRUNING"
    assert not world.jobs.get(low.job_id).cancel_requested
    assert world.driver(of).advance()[5].state == "PRUNING"
    assert world.jobs.get(low.job_id).cancel_requested


def test_a_pruned_trial_that_was_faster(world: World) -> None:
    """Its job succeeded before it was to be cancelled: it is complete, like any other."""
    of, trials, (low, _) = with_five_complete(world)
    world.evaluate(low, [0.1, 0.2])
    driver = world.driver(of)
    look = driver.observer.look

    def slow(stored: list[Trial]) -> list[Trial]:
        seen = look(stored)
        world.jobs.succeed(low, 0.7, None)
        driver.observer.look = look  # type: ignore[method-assign]
        return seen

    driver.observer.look = slow  # type: ignore[method-assign, assignment]
    assert driver.advance()[5].state == "PRUNING"
    assert driver.advance()[5].state == "COMPLETE"
    assert trials[5].state == "QUEUED"
