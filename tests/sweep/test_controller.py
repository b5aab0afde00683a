from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract.tables import JOBS
from receipt_trainer.jobs.limits import Limits
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.sweep import study
from receipt_trainer.sweep.collect import Observer
from receipt_trainer.sweep.controller import follow
from receipt_trainer.sweep.definition import Definition
from receipt_trainer.sweep.plan import job_of
from receipt_trainer.sweep.trial import Trial
from tests.odd_rows import ODD
from tests.sweep.world import Counting, Dying, Killed, World, axis, definition

MAX_ROUNDS = 40


def formula(training: Mapping[str, Any]) -> float:
    """F1 that is highest at a learning rate of 3e-5, and a little higher for small batches."""
    return float(0.9 - abs(training["learning_rate"] - 3e-5) * 1e3 - training["batch_size"] / 1000)


@pytest.fixture
def world(jobs_table: str) -> World:
    return World(jobs_table, formula)


def grid(world: World, name: str = "grid") -> Definition:
    rates = axis("learning_rate", "5e-5,3e-5")
    return definition(rates, seeds=(0, 1), name=name, queue_url=world.queue_url)


def tpe(world: World, name: str, num_trials: int = 4) -> Definition:
    axes = (axis("learning_rate", "1e-5:1e-4"), axis("batch_size", "4,8,16"))
    return definition(*axes, name=name, method="tpe", num_trials=num_trials, queue_url=world.queue_url)


def live(world: World, of: Definition, **clients_: Any) -> Sequence[Trial]:
    """Drive a sweep and train its jobs until it is done."""
    driver = world.driver(of, **clients_)
    for _ in range(MAX_ROUNDS):
        trials = driver.advance()
        if driver.is_done(trials):
            return trials
        world.work()
    raise AssertionError("the sweep does not end")


def check_whole(world: World, of: Definition, trials: Sequence[Trial]) -> None:
    """Each trial is complete, and each of its seeds has one job that was trained once."""
    assert [trial.state for trial in trials] == ["COMPLETE"] * len(trials)
    wanted = {job_of(of, trial.number, trial.params, seed).job_id for trial in trials for seed in of.seeds}
    jobs = world.all_jobs(f"{of.name}-t")
    assert sorted(job.job_id for job in jobs) == sorted(wanted)
    assert all((job.status, job.attempt) == ("SUCCEEDED", 1) for job in jobs)


def test_a_grid_from_end_to_end(world: World) -> None:
    """One advance queues a message for each seed of each trial, another process none; the next ones find the end."""
    of, sqs = grid(world), Counting(clients.sqs())
    driver = world.driver(of)
    assert [trial.state for trial in driver.advance()] == ["QUEUED", "QUEUED"]
    world.driver(of, sqs=sqs).advance()
    assert sqs.calls["send_message"] == 0
    assert len(world.work()) == 4
    trials = driver.advance()
    assert driver.is_done(trials)
    assert [trial.value for trial in trials] == pytest.approx([0.872, 0.892])
    assert trials[0].curve == pytest.approx((0.436, 0.872))
    assert [run.seed for run in trials[0].runs] == [0, 1]
    assert trials[0].runs[0].usd is not None
    check_whole(world, of, trials)


def test_a_grid_survives_a_kill_at_any_write(world: World) -> None:
    """Whichever write is the last one, another process ends the sweep: no trial lost, no job and no message twice."""
    num_writes = 2 + 2 * (1 + 2 * 2 + 1)  # definition and study; each trial: itself, its jobs and messages, its state
    # The second trial repeats the first one's writes: its first and its last stand for them.
    for number in (*range(1, 10), num_writes, num_writes + 1):
        of, left = grid(world, f"grid-{number}"), [number]
        dying = {"dynamodb": Dying(world.dynamodb, left), "sqs": Dying(world.sqs, left)}
        try:
            world.driver(of, **dying).advance()
        except Killed:
            assert number <= num_writes
        else:
            assert number == num_writes + 1
            break
        world.driver(of).advance()
        sent = world.work()
        assert len(sent) == len(set(sent)) == 4
        check_whole(world, of, world.driver(of).advance())


def test_tpe_that_is_killed_anywhere_proposes_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any write and driven on by another process, a search ends with the trials of an undisturbed one."""
    monkeypatch.setattr(study, "NUM_STARTUP", 2)
    of = tpe(world, "tpe")
    whole = live(world, of)
    check_whole(world, of, whole)
    wanted = [(trial.params, trial.value) for trial in whole]
    assert len({str(params) for params, _ in wanted}) == 4
    for number in (3, 8, 16):
        table = f"{world.jobs_table}-{number}"  # where nothing of the sweep is stored
        clients.dynamodb().create_table(**JOBS.create_arguments(table))
        other, left = World(table, formula, world.queue_url), [number]
        with pytest.raises(Killed):
            live(other, of, dynamodb=Dying(other.dynamodb, left), sqs=Dying(other.sqs, left))
        trials = live(other, of)
        assert [(trial.params, trial.value) for trial in trials] == wanted
        check_whole(other, of, trials)
        clients.dynamodb().delete_table(TableName=table)


def test_concurrency(world: World) -> None:
    """TPE keeps so many trials in the queue, and fills up as they end."""
    driver = world.driver(tpe(world, "wide", 5), concurrency=2)
    assert len(driver.advance()) == 2
    assert len(driver.advance()) == 2
    world.work()
    assert len(driver.advance()) == 4


def test_random_trials_are_queued_at_once_and_the_same_for_everybody(world: World) -> None:
    """They depend on no result; values that were drawn before share the job of that trial."""
    axes = (axis("batch_size", "4,8"),)
    of = definition(*axes, name="rnd", method="random", num_trials=6, queue_url=world.queue_url)
    first = world.driver(of).advance()
    assert len(first) == 6
    assert len(world.work()) == len({trial.params["batch_size"] for trial in first}) <= 2
    trials = world.driver(of).advance()
    assert [trial.params for trial in trials] == [trial.params for trial in first]
    assert all(trial.value == pytest.approx(formula({"learning_rate": 1e-4, **trial.params})) for trial in trials)


def test_values_that_contradict_each_other_fail_their_trial_alone(world: World) -> None:
    """A search goes on behind a combination that no job can have; the reason is kept, and nothing is queued for it."""
    axes = (axis("max_length", "64,512"), axis("window_stride", "16,128"))
    of = definition(*axes, name="odd", method="random", num_trials=8, queue_url=world.queue_url)
    trials = live(world, of)
    wrong = [trial for trial in trials if trial.params == {"max_length": 64, "window_stride": 128}]
    assert wrong
    assert all(trial.state == "FAILED" and "must be below" in str(trial.reason) for trial in wrong)
    assert all(trial.state == "COMPLETE" for trial in trials if trial not in wrong)


def test_two_drivers_of_one_sweep(world: World) -> None:
    """Both may add trials: what one has stored counts for the other."""
    of = grid(world)
    one, two = world.driver(of, dynamodb=Dying(world.dynamodb, [3])), world.driver(of)
    with pytest.raises(Killed):
        one.advance()  # in the middle: its trial is stored, and its jobs are not there yet
    assert [trial.state for trial in two.study.trials()] == ["PLANNED"]
    assert [trial.state for trial in two.advance()] == ["QUEUED", "QUEUED"]
    assert [trial.version for trial in one.advance()] == [2, 2]
    assert len(world.work()) == 4


def test_a_failed_job_that_is_tried_again(world: World) -> None:
    """Its trial FAILED, and is complete when the job has succeeded after all."""
    of = grid(world)
    driver = world.driver(of)
    job_id = driver.advance()[0].runs[0].job_id
    attempt = world.claim(job_id)
    world.jobs.fail(attempt, "a mistake", final=True)
    world.work()
    trials = driver.advance()
    assert [trial.state for trial in trials] == ["FAILED", "COMPLETE"]
    assert trials[0].runs[0].reason == "a mistake"
    assert trials[0].value is None
    assert driver.is_done(trials)
    world.jobs.retry(job_id)
    world.train(job_id)
    assert world.driver(of).advance()[0].state == "COMPLETE"


def put_off(world: World, job_id: str, days: int = 0) -> None:
    """A worker trains the job, and cannot deliver its run, so many days from now."""
    attempt = world.claim(job_id)
    world.evaluate(attempt, [0.1, 0.2])
    later = JobTable(world.dynamodb, world.jobs_table, clock=lambda: utc_now() + timedelta(days=days))
    later.defer(attempt, "AccessDenied", None, 0)


def test_a_run_that_is_not_delivered_is_waited_for_and_in_the_end_not(world: World) -> None:
    """Its trial is QUEUED while it is tried; held, it has no score, and the sweep is done; delivered, it counts."""
    of = definition(axis("learning_rate", "5e-5,3e-5"), name="grid", queue_url=world.queue_url)
    driver = world.driver(of)
    job_id = driver.advance()[0].runs[0].job_id
    put_off(world, job_id)
    trials = driver.advance()
    assert (trials[0].state, driver.is_done(trials)) == ("QUEUED", False)
    assert (trials[0].runs[0].delivery or {})["waits_for"] == "AccessDenied"
    put_off(world, job_id, days=15)
    world.work()
    trials = driver.advance()
    assert [trial.state for trial in trials] == ["HELD", "COMPLETE"]
    assert (trials[0].value, driver.is_done(trials)) == (None, True)
    assert world.driver(of).advance() == trials
    world.jobs.retry(job_id)
    assert world.driver(of).advance()[0].state == "QUEUED"
    world.train(job_id)
    trials = world.driver(of).advance()
    assert (trials[0].state, trials[0].runs[0].delivery) == ("COMPLETE", None)


def test_a_held_trial_can_be_pruned_or_fail_beside_another_seed(world: World) -> None:
    """What is said of it is what a person can still change: nothing, once another of its seeds has failed."""
    rates = axis("learning_rate", "5e-5,3e-5")
    driver = world.driver(definition(rates, seeds=(0, 1), name="held", prune=True, queue_url=world.queue_url))
    (held, other), (pruned, _) = (trial.runs for trial in driver.advance())
    for run in (held, pruned):
        put_off(world, run.job_id)
        put_off(world, run.job_id, days=15)
    first, second = driver.advance()
    assert (first.state, second.state) == ("QUEUED", "QUEUED")
    driver.study.change(second, replace(second, state="PRUNING"))
    attempt = world.claim(other.job_id)
    world.jobs.fail(attempt, "a mistake", final=True)
    assert [trial.state for trial in driver.advance()] == ["FAILED", "PRUNING"]
    assert world.jobs.get(pruned.job_id).status == "CANCELLED"


def test_a_job_that_is_not_there_any_more(world: World) -> None:
    """A job's row that somebody deleted fails its trial instead of being waited for for ever."""
    driver = world.driver(grid(world))
    run = driver.advance()[0].runs[0]
    world.dynamodb.delete_item(TableName=world.jobs_table, Key={"PK": {"S": f"JOB#{run.job_id}"}, "SK": {"S": "JOB"}})
    world.work()
    trial = driver.advance()[0]
    assert (trial.state, trial.runs[0].reason) == ("FAILED", "its job is no longer in the table")


def test_a_job_whose_row_cannot_be_read_is_waited_for(world: World) -> None:
    """It says why as far as it reads rows, and once the row is mended its trial goes on like the others."""
    driver = world.driver(grid(world))
    job_id = driver.advance()[0].runs[0].job_id
    whole = world.jobs.get(job_id).to_row()
    for change, reason in ODD.values():
        dynamo.put(world.dynamodb, world.jobs_table, whole | change, "spoil the row")
        trial = driver.advance()[0]
        assert (trial.state, trial.runs[1].reason) == ("QUEUED", None)
        is_read = bool(change.keys() & {"name", "status", "attempt", "lease_expires_at"})
        assert (reason in str(trial.runs[0].reason)) is is_read
    dynamo.put(world.dynamodb, world.jobs_table, whole, "mend the row")
    world.work()
    assert [trial.state for trial in driver.advance()] == ["COMPLETE", "COMPLETE"]


def test_following_ends_when_the_trials_have(world: World) -> None:
    """Time is passed in: workers train while it waits, and it comes back as soon as all is done."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.work()

    shown: list[int] = []
    driver = world.driver(tpe(world, "follow", 3))
    trials, is_done = follow(
        driver, lambda trials: shown.append(len(trials)), timeout_s=1e9, poll_s=5, monotonic=lambda: 0.0, sleep=sleep
    )
    assert is_done
    assert len(trials) == 3
    assert (slept, shown) == ([5, 5, 5], [1, 2, 3, 3])


def test_a_sweep_at_its_limit_begins_nothing_and_a_higher_one_resumes_it(world: World) -> None:
    """One trial of two has taken too much: what waits is withdrawn with the reason; a higher limit queues it again."""
    of = tpe(world, "bounded", 3)
    driver = world.driver(of)
    driver.sweeps.define(of, Limits(max_hours=1e-9))
    first = driver.advance()[0].runs[0].job_id
    world.train(first)
    two = world.driver(of, concurrency=2)  # somebody without a limit in mind: it is the stored one that counts
    trials = two.advance()
    assert (len(trials), trials[0].state, two.is_done(trials)) == (1, "COMPLETE", True)
    assert two.spent is not None
    assert two.spent.startswith("sweep 'bounded' reached max_hours 1e-09 (0.00 h of instance time); receipt-trainer")
    assert two.sweeps.limits(of.name) == Limits(max_hours=1e-9)
    two.sweeps.limit(of.name, Limits(max_hours=5, max_usd=7))
    assert len(two.advance()) == 3
    waiting = [run.job_id for trial in world.trials(of)[1:] for run in trial.runs]
    two.sweeps.limit(of.name, Limits(max_hours=1e-9))
    trials = two.advance()
    assert [world.jobs.get(job_id).status for job_id in waiting] == ["CANCELLED"] * 2
    two.sweeps.limit(of.name, Limits(max_hours=5))
    trials = two.advance()
    assert ([trial.state for trial in trials], two.is_done(trials)) == (["COMPLETE", "QUEUED", "QUEUED"], False)
    assert [world.jobs.get(job_id).status for job_id in waiting] == ["PENDING"] * 2
    world.work()
    trials = two.advance()
    assert two.is_done(trials)
    assert [trial.state for trial in trials] == ["COMPLETE"] * 3


def test_a_sweep_at_its_limit_still_gets_the_run_that_is_complete(world: World) -> None:
    """Only its upload lacks, which no limit forbids; and a job that a worker has ended meanwhile ends no sweep."""
    of = tpe(world, "complete", 3)
    driver = world.driver(of, concurrency=2)
    ids = [trial.runs[0].job_id for trial in driver.advance()]
    put_off(world, ids[0])
    driver.sweeps.limit(of.name, Limits(max_hours=1e-9))
    late = world.driver(of, concurrency=2)
    look = late.observer.look

    def look_before_it_ends(trials: Sequence[Trial]) -> list[Trial]:
        seen = look(trials)
        attempt = world.take(ids[1])
        if attempt is not None:
            world.jobs.stop_at_limit(attempt, "sweep 'complete' reached max_hours 1e-09", None)
        return seen

    late.observer = cast(Observer, SimpleNamespace(look=look_before_it_ends))
    trials = late.advance()
    assert late.spent is not None
    assert not late.is_done(trials), "it waits for the run"
    assert [world.jobs.get(job_id).status for job_id in ids] == ["INTERRUPTED", "FAILED"]


def test_a_trial_at_a_limit_of_its_own_does_not_stop_a_sweep_that_goes_on(world: World) -> None:
    """The sweep has more, the job has not: it stays FAILED, and the others are queued."""
    of = tpe(world, "own", 2)
    of = of.model_copy(update={"base": of.base | {"max_hours": 1e-9}})
    driver = world.driver(of)
    driver.sweeps.define(of, Limits(max_hours=5))
    job_id = driver.advance()[0].runs[0].job_id
    attempt = world.claim(job_id)
    world.jobs.stop_at_limit(attempt, "sweep 'own' reached max_hours 1", None)
    trials = driver.advance()
    assert world.jobs.get(job_id).status == "FAILED"
    assert [trial.state for trial in trials] == ["FAILED", "QUEUED"]
