"""A job read again and again, over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract.tables import attempt_sk, iso, job_pk
from receipt_trainer.jobs.metrics_writer import JobStore
from receipt_trainer.jobs.views import LiveJob
from tests.cli.jobs import NOON, add_job


class Clock:
    """Goes on a second at each reading."""

    def __init__(self, begin: datetime) -> None:
        self.now = begin

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def add_attempt(table: str, job_id: str, number: int, **more: Any) -> None:
    """A row of an attempt that began at noon."""
    row = {"PK": job_pk(job_id), "SK": attempt_sk(number), "attempt": number, "started_at": iso(NOON)} | more
    dynamo.put(clients.dynamodb(), table, row, "write the attempt")


@pytest.fixture
def job_id(jobs_table: str) -> str:
    """A job that runs."""
    return add_job(jobs_table, status="RUNNING", attempt=1, spec='{"training_config": {"num_epochs": 2}}')


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each query has given."""
    counts: list[int] = []
    original: Any = dynamo.query

    def query(*args: Any, **kwargs: Any) -> Iterator[Any]:
        at = len(counts)
        counts.append(0)
        for row in original(*args, **kwargs):
            counts[at] += 1
            yield row

    monkeypatch.setattr(dynamo, "query", query)
    return counts


def train(table: str, job_id: str, steps: range, clock: Clock, attempt: int, value: float) -> None:
    """An attempt's losses and a line of its log."""
    store = JobStore(Table(clients.dynamodb(), table), job_id, attempt=attempt, first_seq=1000 * attempt, clock=clock)
    store.log("info", f"attempt {attempt}")
    for step in steps:
        store.metric("loss", value, step=step, epoch=step / 100)
    store.close()


def test_two_attempts_are_one_curve(jobs_table: str, job_id: str) -> None:
    """Steps that were trained twice count once, with the last attempt's values; pace and attempts are the newest's."""
    clock, live = Clock(NOON), LiveJob(Table(clients.dynamodb(), jobs_table), job_id)
    train(jobs_table, job_id, range(1, 21), clock, 1, 3.0)
    add_attempt(jobs_table, job_id, 1, outcome="INTERRUPTED", ended_at=iso(clock.now), price_usd_per_h=3600)
    first = live.look(clock.now)
    assert [point.step for point in first.curves["loss"]] == list(range(1, 21))
    assert first.pace.num_steps == 200
    add_job(jobs_table, job_id=job_id, status="RUNNING", attempt=2, spec='{"training_config": {"num_epochs": 2}}')
    clock.now += timedelta(hours=1)
    train(jobs_table, job_id, range(16, 31), clock, 2, 2.0)
    add_attempt(jobs_table, job_id, 2, started_at=iso(clock.now))
    second = live.look(clock.now)
    assert [point.step for point in second.curves["loss"]] == list(range(1, 31))
    assert [point.value for point in second.curves["loss"]] == [3.0] * 15 + [2.0] * 15
    assert second.pace.step == 30
    assert second.pace.steps_per_s == pytest.approx(1.0)
    assert [line.message for line in second.new_lines] == ["attempt 2"]
    assert [line.message for line in second.lines] == ["attempt 1", "attempt 2"]
    assert [row["attempt"] for row in second.attempts] == [1, 2]
    assert second.cost.usd == pytest.approx(21.0)
    assert second.cost.num_unknown == 1


def test_only_what_is_new_is_read(jobs_table: str, job_id: str, counted: list[int]) -> None:
    """A look reads the metrics behind the last known row (and half a minute before it), however many there are."""
    clock, live = Clock(NOON), LiveJob(Table(clients.dynamodb(), jobs_table), job_id)
    train(jobs_table, job_id, range(1, 301), clock, 1, 3.0)
    live.look(clock.now)
    first, counted[:] = sum(counted), []
    train(jobs_table, job_id, range(301, 304), clock, 1, 3.0)
    counted[:] = []
    view = live.look(clock.now)
    assert first >= 300
    assert sum(counted) < 45
    assert len(view.curves["loss"]) == 303


def test_a_job_that_ended_says_so(jobs_table: str) -> None:
    """Its view is the last one; without rows there are no curves and no pace."""
    job = add_job(jobs_table, status="FAILED", attempt=1, reason="no such table")
    view = LiveJob(Table(clients.dynamodb(), jobs_table), job).look(datetime.now(UTC))
    assert view.has_ended
    assert (view.curves, view.lines, view.pace.step) == ({}, [], None)
