"""Notices of jobs that end: one for each end, written with it, and none for a job that asks for none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.contract import notices
from receipt_trainer.contract.cost import Cost
from receipt_trainer.contract.notices import Notice
from receipt_trainer.errors import WorldError
from receipt_trainer.jobs.limits import Limits, Spending, reached
from receipt_trainer.jobs.model import Attempt, Job
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.state_machine import GIVEN_UP_AFTER, MAX_LOST
from receipt_trainer.local.emulator import LocalCloud
from tests.fault_proxy import FaultProxy

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LEASE_S = 60.0


class Clock:
    """A time of day that only a test moves."""

    now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(jobs_table: str, clock: Clock) -> JobTable:
    """A jobs table with the PENDING job `job`, which asks for a notice."""
    return made(jobs_table, clock, {"notify": True})


def made(name: str, clock: Callable[[], datetime], spec: dict[str, Any]) -> JobTable:
    table = JobTable(clients.dynamodb(), name, clock=clock, sleep=lambda seconds: None)
    table.create(Job("job", "a-job", "PENDING", queue_url="https://queue/a.fifo", spec=spec, max_failures=1))
    return table


def claim(table: JobTable, worker: str = "w1") -> Attempt:
    attempt = table.claim("job", worker, LEASE_S, {})
    assert isinstance(attempt, Attempt)
    return attempt


def kept(table: str) -> list[Notice]:
    """Notices that are not sent yet, oldest first."""
    keys, values = "PK = :pk", {":pk": notices.PK}
    client = clients.dynamodb()
    rows = dynamo.query(client, table, "read", KeyConditionExpression=keys, ExpressionAttributeValues=values)
    return [Notice.from_row(row) for row in rows]


def vanish(table: JobTable, clock: Clock) -> None:
    """So many workers claim the job and vanish that the next one that wants it settles it."""
    for number in range(MAX_LOST):
        claim(table, f"w{number}")
        clock.now += timedelta(seconds=LEASE_S)
    table.claim("job", "last", LEASE_S, {})


def hold(table: JobTable, clock: Clock) -> None:
    """The job's run is complete and cannot be delivered for so long that nobody tries any more."""
    table.defer(claim(table), "no bucket", None, 1)
    clock.now += GIVEN_UP_AFTER
    table.defer(claim(table), "no bucket", None, 1)


VANISHED = f"{MAX_LOST} workers vanished while they had this job; it may need more memory than they have"
UNDELIVERED = "its complete run could not be delivered for 14 days; the last try: no bucket"
ENDS: dict[str, tuple[Callable[[JobTable, Clock], object], str, str | None, float | None]] = {
    "success": (lambda table, _: table.succeed(claim(table), 0.75, "s3://a/b"), "SUCCEEDED", None, 0.75),
    "no score": (lambda table, _: table.succeed(claim(table), None, None), "SUCCEEDED", None, None),
    "failure": (lambda table, _: table.fail(claim(table), "out of memory"), "FAILED", "out of memory", None),
    "limit": (lambda table, _: table.stop_at_limit(claim(table), "max_hours 1", 5), "FAILED", "max_hours 1", None),
    "cancelled in a run": (lambda table, _: table.end_cancelled(claim(table), "asked"), "CANCELLED", "asked", None),
    "cancelled before": (lambda table, _: table.cancel("job"), "CANCELLED", "cancelled on request", None),
    "too many vanished": (vanish, "FAILED", VANISHED, None),
    "held": (hold, notices.HELD, UNDELIVERED, None),
}
"""How a job can end: what is called, and the notice's state, reason and score."""


@pytest.mark.parametrize("end", ENDS)
def test_every_end_leaves_one_notice(table: JobTable, jobs_table: str, clock: Clock, end: str) -> None:
    """Whoever ends the job, there is one notice of it, and none before."""
    way, state, reason, f1 = ENDS[end]
    assert kept(jobs_table) == []
    way(table, clock)
    job = table.get("job")
    assert (job.is_held, job.status) == ((True, "INTERRUPTED") if state == notices.HELD else (False, state))
    assert kept(jobs_table) == [Notice("job", "a-job", state, job.updated_at, reason, f1)]


def test_a_job_that_was_stopped_at_its_limit_tells_how_it_goes_on(jobs_table: str, clock: Clock) -> None:
    """Without the flag `retry` refuses it; the notice names the limit that was reached, of two that are set."""
    table = made(jobs_table, clock, {"notify": True, "max_hours": 6.0, "max_usd": 2.5})
    attempt = claim(table)
    stopped = reached(Limits(6.0, 2.5), Spending(usd=2.6), job="job")
    assert stopped is not None
    table.stop_at_limit(attempt, stopped.said, 5)
    (notice,) = kept(jobs_table)
    text = notice.text("dev", Cost(600, 2.6, 1, 0))
    assert text.endswith("receipt-trainer retry --stack dev job --max-usd 5\n")


@pytest.mark.parametrize("spec", [{}, {"notify": None}, {"notify": False}], ids=["0.1.0", "unset", "refused"])
def test_a_job_that_asks_for_none_leaves_none(jobs_table: str, clock: Clock, spec: dict[str, Any]) -> None:
    """Also a job whose spec an older trainer stored, without the field."""
    table = made(jobs_table, clock, spec)
    table.fail(claim(table), "no")
    assert table.get("job").status == "FAILED"
    assert kept(jobs_table) == []


def test_what_is_no_end_leaves_none(jobs_table: str, clock: Clock) -> None:
    """A claim, a start, an interruption and a failed attempt that is tried again are told to nobody; each end is."""
    table = JobTable(clients.dynamodb(), jobs_table, clock=clock, sleep=lambda seconds: None)
    table.create(Job("job", "a-job", "PENDING", queue_url="https://queue/a.fifo", spec={"notify": True}))
    first = claim(table)
    table.start(first, 0)
    assert table.interrupt(first, "spot", 5) == "INTERRUPTED"
    assert table.fail(claim(table), "again") == "PENDING"
    assert kept(jobs_table) == []
    table.cancel("job")
    clock.now += timedelta(seconds=1)
    table.retry("job")
    table.succeed(claim(table), 0.5, None)
    assert [one.state for one in kept(jobs_table)] == ["CANCELLED", "SUCCEEDED"]


def test_an_end_in_the_same_microsecond_as_another_is_another_notice(table: JobTable, jobs_table: str) -> None:
    """A job that ends twice while no clock moves leaves two rows."""
    table.cancel("job")
    table.retry("job")
    table.cancel("job")
    assert len(kept(jobs_table)) == 2


def test_a_held_job_that_goes_on_is_told_again_at_its_end(table: JobTable, jobs_table: str, clock: Clock) -> None:
    """Held is an end until a person retries it; the delivery that succeeds then is told, too, and its claim is not."""
    hold(table, clock)
    clock.now += timedelta(days=1)
    table.retry("job")
    table.succeed(claim(table), 0.5, "s3://a/b")
    assert [(one.state, one.f1) for one in kept(jobs_table)] == [(notices.HELD, None), ("SUCCEEDED", 0.5)]


@pytest.mark.parametrize("lost", [True, False], ids=["answer lost", "sent twice"])
def test_an_end_whose_answer_is_lost_is_told_once(
    jobs_table: str, clock: Clock, fault_proxy: FaultProxy, aws: LocalCloud, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    """The transaction was carried out and its answer lost, or it was sent twice: one notice."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    table = made(jobs_table, clock, {"notify": True})
    attempt = claim(table)
    direct = aws.client("dynamodb")
    fault_proxy.calls.clear()

    def rule(operation: str, count: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        if operation != "TransactWriteItems" or count != 1:
            return None
        direct.transact_write_items(**body)
        return (500, {"__type": "InternalServerError", "message": "lost"}) if lost else None

    fault_proxy.rule = rule
    table.succeed(attempt, 0.5, None)
    assert [one.state for one in kept(jobs_table)] == ["SUCCEEDED"]


def test_an_end_that_was_not_written_is_not_told(
    jobs_table: str, clock: Clock, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State and notice are one transaction: where it fails there is neither; the next try writes both."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    table = made(jobs_table, clock, {"notify": True})
    attempt = claim(table)
    fault_proxy.calls.clear()
    fault_proxy.rule = lambda name, count, body: (
        (500, {"__type": "InternalServerError", "message": "no"})
        if name == "TransactWriteItems" and count == 1
        else None
    )
    with pytest.raises(WorldError):
        table.succeed(attempt, 0.5, None)
    assert (table.get("job").status, kept(jobs_table)) == ("CLAIMED", [])
    table.succeed(attempt, 0.5, None)
    assert len(kept(jobs_table)) == 1


def test_a_notice_that_nobody_sends_goes_some_day(table: JobTable, jobs_table: str) -> None:
    """Its row expires two weeks after the end."""
    table.cancel("job")
    rows = clients.dynamodb().scan(TableName=jobs_table)["Items"]
    (row,) = [dynamo.deserialise(row) for row in rows if row["PK"]["S"] == notices.PK]
    assert row["expires_at"] == (NOON + timedelta(days=14)).timestamp()
