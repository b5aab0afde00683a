"""Changes of state over a connection that loses answers: written once, and known to be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.errors import WorldError
from receipt_trainer.jobs.model import Attempt, Job
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.state_machine import Refusal
from receipt_trainer.jobs.transactions import BUSY_TRIES
from receipt_trainer.local.emulator import LocalCloud
from tests.fault_proxy import Answer, FaultProxy

BROKEN: Answer = (500, {"__type": "InternalServerError", "message": "the answer is lost"})


def busy(code: str) -> Answer:
    """DynamoDB's answer where a transaction meets another one."""
    error = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    return 400, {"__type": error, "Message": f"cancelled [{code}]", "CancellationReasons": [{"Code": code}]}


@pytest.fixture
def slept() -> list[float]:
    """Seconds of each wait."""
    return []


@pytest.fixture
def table(jobs_table: str, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, slept: list[float]) -> JobTable:
    """A table with the PENDING job `job`, behind a proxy, whose client sends each request once."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    table = JobTable(clients.dynamodb(), jobs_table, sleep=slept.append)
    table.create(Job("job", "a-job", "PENDING", queue_url="https://queue/a.fifo"))
    fault_proxy.calls.clear()
    return table


def writes_then(answer: Answer | None, aws: LocalCloud) -> Callable[[str, int, dict[str, Any]], Answer | None]:
    """A rule: the first transaction is carried out behind the proxy's back, and then answered so (None: sent again)."""
    direct = aws.client("dynamodb")

    def rule(operation: str, count: int, body: dict[str, Any]) -> Answer | None:
        if operation != "TransactWriteItems" or count != 1:
            return None
        direct.transact_write_items(**body)
        return answer

    return rule


@pytest.mark.parametrize("answer", [BROKEN, None], ids=["answer lost", "sent twice"])
def test_a_claim_whose_answer_is_lost_is_granted(
    table: JobTable, fault_proxy: FaultProxy, aws: LocalCloud, answer: Answer | None
) -> None:
    """A claim that was written, and whose answer was lost or whose request was repeated, is this worker's."""
    fault_proxy.rule = writes_then(answer, aws)
    attempt = table.claim("job", "w1", 60, {})
    assert isinstance(attempt, Attempt)
    assert attempt.number == 1
    assert table.get("job").attempt == 1


def test_a_failure_whose_answer_is_lost_counts_once(table: JobTable, fault_proxy: FaultProxy, aws: LocalCloud) -> None:
    """The failure is written once, whatever happened to the answer."""
    attempt = table.claim("job", "w1", 60, {})
    assert isinstance(attempt, Attempt)
    fault_proxy.calls.clear()
    fault_proxy.rule = writes_then(BROKEN, aws)
    assert table.fail(attempt, "out of memory") == "PENDING"
    assert table.get("job").num_failures == 1


def test_a_claim_that_was_not_written_is_reported(table: JobTable, fault_proxy: FaultProxy) -> None:
    """Where nothing was written, the fault is the caller's to handle, and another worker may claim."""
    fault_proxy.rule = lambda name, count, body: BROKEN if name == "TransactWriteItems" and count == 1 else None
    with pytest.raises(WorldError, match="write the state of job job"):
        table.claim("job", "w1", 60, {})
    assert table.get("job").attempt == 0
    assert isinstance(table.claim("job", "w2", 60, {}), Attempt)


def test_a_lost_race_is_decided_anew(
    table: JobTable, fault_proxy: FaultProxy, aws: LocalCloud, jobs_table: str
) -> None:
    """A claim that another one overtakes between reading and writing is refused, not granted and not a fault."""
    direct = JobTable(aws.client("dynamodb"), jobs_table)

    def rule(operation: str, count: int, body: dict[str, Any]) -> Answer | None:
        if operation == "TransactWriteItems" and count == 1:
            direct.claim("job", "faster", 60, {})
        return None

    fault_proxy.rule = rule
    refusal = table.claim("job", "slower", 60, {})
    assert isinstance(refusal, Refusal)
    assert refusal.kind == "leased"
    assert table.get("job").worker_id == "faster"


def test_a_lease_that_is_renewed_just_in_time_is_kept(
    fault_proxy: FaultProxy, aws: LocalCloud, jobs_table: str
) -> None:
    """A takeover decided on an expired lease is refused if the lease was renewed before it was written."""
    now = [datetime(2026, 11, 20, 12, 0, tzinfo=UTC)]
    late = JobTable(clients.dynamodb(), jobs_table, clock=lambda: now[0], sleep=lambda seconds: None)
    late.create(Job("job", "a-job", "PENDING", queue_url="https://queue/a.fifo"))
    attempt = late.claim("job", "w1", 60, {})
    assert isinstance(attempt, Attempt)
    now[0] += timedelta(seconds=60)
    fault_proxy.calls.clear()
    direct = aws.client("dynamodb")

    def rule(operation: str, count: int, body: dict[str, Any]) -> Answer | None:
        if operation == "TransactWriteItems" and count == 1:
            JobTable(direct, jobs_table, clock=lambda: now[0]).renew(attempt, 60)
        return None

    fault_proxy.rule = rule
    refusal = late.claim("job", "w2", 60, {})
    assert isinstance(refusal, Refusal)
    assert refusal.kind == "leased"


def test_a_cancel_that_arrives_during_an_ending_is_not_overlooked(
    table: JobTable, fault_proxy: FaultProxy, aws: LocalCloud, jobs_table: str
) -> None:
    """A failure decided as PENDING becomes CANCELLED if the request to cancel was written before it."""
    attempt = table.claim("job", "w1", 60, {})
    assert isinstance(attempt, Attempt)
    fault_proxy.calls.clear()
    direct = JobTable(aws.client("dynamodb"), jobs_table)

    def rule(operation: str, count: int, body: dict[str, Any]) -> Answer | None:
        if operation == "TransactWriteItems" and count == 1:
            direct.cancel("job")
        return None

    fault_proxy.rule = rule
    assert table.fail(attempt, "out of memory") == "CANCELLED"


def test_meeting_transactions_are_tried_again(table: JobTable, fault_proxy: FaultProxy, slept: list[float]) -> None:
    """Two transactions on one row at once are no refusal: the later one waits a little and is tried again."""
    fault_proxy.rule = lambda name, count, body: (
        busy("TransactionConflict") if name == "TransactWriteItems" and count <= 2 else None
    )
    assert isinstance(table.claim("job", "w1", 60, {}), Attempt)
    assert len(slept) == 2


def test_trying_again_has_an_end(table: JobTable, fault_proxy: FaultProxy, slept: list[float]) -> None:
    """A row that is always busy ends in a fault that says so, within the bound."""
    fault_proxy.rule = lambda name, count, body: busy("TransactionConflict") if name == "TransactWriteItems" else None
    with pytest.raises(WorldError, match="others keep writing it"):
        table.claim("job", "w1", 60, {})
    assert len(slept) == BUSY_TRIES - 1
    assert sum(slept) < 10
