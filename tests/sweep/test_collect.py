from __future__ import annotations

from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.contract.run_record import LayoutLMRecord, Score
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.sweep.definition import OBJECTIVES, Definition
from receipt_trainer.sweep.ranking import ranked, verdict_of
from receipt_trainer.sweep.trial import SeedRun, Trial
from tests.sweep.world import Counting, World, axis, definition


@pytest.fixture
def world(jobs_table: str) -> World:
    return World(jobs_table, lambda training: 0.8 + training["seed"] / 100)


def sweep(world: World) -> Definition:
    return definition(axis("num_epochs", "1,2"), seeds=(1, 3), name="o", queue_url=world.queue_url)


def record(aws: LocalCloud, **f1s: float) -> str:
    """A run's record in the bucket; the URL of its folder."""
    scores = {label: Score(precision=f1, recall=f1, f1=f1, support=9) for label, f1 in f1s.items()}
    run = LayoutLMRecord(job_name="j", job_id="1", model="tiny", training_config={}, data_config={}, label_list=[])
    prefix = f"runs/j/{uuid4()}"
    body = run.model_copy(update={"per_label": scores}).model_dump_json()
    clients.s3().put_object(Bucket=aws.bucket, Key=f"{prefix}/run.json", Body=body.encode())
    return f"s3://{aws.bucket}/{prefix}"


def test_scores_of_labels_come_from_the_runs_records(world: World, aws: LocalCloud) -> None:
    """The mean over the seeds of each label's F1, beside mean and spread of the whole."""
    driver = world.driver(sweep(world))
    runs = driver.advance()[0].runs
    for run, total in zip(runs, (0.6, 0.8), strict=True):
        world.train(run.job_id, record(aws, TOTAL=total, DATE=0.5))
    result = driver.advance()[0]
    assert result.per_label == pytest.approx({"TOTAL": 0.7, "DATE": 0.5})
    assert result.score == pytest.approx(0.82)
    assert result.score_sd == pytest.approx(0.02 / 2**0.5)
    assert driver.observer.complaint is None


def test_a_record_that_cannot_be_read_hides_nothing_else(world: World, aws: LocalCloud) -> None:
    """No such bucket, or no such file: the F1 is there, the labels' are not, and a fault is told."""
    driver = world.driver(sweep(world))
    runs = driver.advance()[0].runs
    for run, artifacts in zip(runs, ("s3://no-such-bucket-at-all/x", f"s3://{aws.bucket}/nothing"), strict=True):
        world.train(run.job_id, artifacts)
    trial = driver.advance()[0]
    assert trial.value == pytest.approx(0.82)
    assert trial.per_label == {}
    assert "no bucket" in str(driver.observer.complaint)


def test_dollars_and_time(world: World) -> None:
    """All attempts of all seeds count; one without a price makes it "at least"."""
    driver = world.driver(sweep(world))
    first, second = driver.advance()[0].runs
    for run, price in ((first, 3600.0), (second, None)):
        world.train(run.job_id, price=price)
    result = driver.advance()[0]
    seconds = [run.seconds for run in result.runs]
    assert result.seconds == pytest.approx(sum(seconds))
    assert result.usd == pytest.approx(seconds[0])
    assert result.num_unknown == 1


def test_what_has_ended_is_read_once(world: World) -> None:
    """A look at a sweep whose trials are settled asks for no job at all."""
    of = sweep(world)
    world.driver(of).advance()
    world.work()
    world.driver(of).advance()
    client = Counting(clients.dynamodb())
    trials = world.driver(of, dynamodb=client).advance()
    assert [trial.state for trial in trials] == ["COMPLETE", "COMPLETE"]
    assert client.calls["batch_get_item"] == 0
    assert {name for name, _ in client.calls.items()} <= {"put_item", "get_paginator"}


def test_the_order_of_the_table() -> None:
    """Complete ones by their mean, then those that are running, then the rest; doubles are left out."""

    def trial(number: int, state: str, f1: float | None = None, **more: object) -> Trial:
        run = SeedRun(0, str(number), "SUCCEEDED" if f1 else "RUNNING", f1)
        return Trial("s", number, {"num_epochs": number}, (run,), state, **more)  # type: ignore[arg-type]

    trials = [
        trial(0, "FAILED"),
        trial(1, "COMPLETE", 0.7),
        trial(2, "QUEUED"),
        trial(3, "COMPLETE", 0.9),
        trial(4, "COMPLETE", 0.9, same_as=3),
        trial(5, "PRUNED"),
    ]
    assert [result.number for result in ranked(trials, OBJECTIVES["f1"])] == [3, 1, 2, 0, 5]
    of = definition(axis("num_epochs", "1,2"), training={"num_epochs": 1})
    assert verdict_of(of, trials).num_trials == 2
