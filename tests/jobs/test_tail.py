"""A log that is read while it grows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract.tables import iso, job_pk, log_sk
from receipt_trainer.jobs.views import LogTail

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def write(client: Any, table: str, job_id: str, *lines: tuple[float, int]) -> None:
    """Lines by second and sequence number."""
    stamps = [(iso(NOON + timedelta(seconds=second)), seq) for second, seq in lines]
    rows = [
        {"PK": job_pk(job_id), "SK": log_sk(stamp, seq), "timestamp": stamp, "seq": seq}
        | {"level": "info", "message": f"line {seq}"}
        for stamp, seq in stamps
    ]
    dynamo.batch_write(client, table, "write lines", puts=rows)


def messages(tail: LogTail) -> list[str]:
    """What is new."""
    return [line.message for line in tail.more()]


def test_a_line_comes_once_also_where_it_lands_late(jobs_table: str) -> None:
    """A line that lands after one of a later time is shown all the same, and none is shown twice."""
    client = clients.dynamodb()
    tail = LogTail(Table(client, jobs_table), "a")
    write(client, jobs_table, "a", (100, 1), (101, 3))
    assert messages(tail) == ["line 1", "line 3"]
    write(client, jobs_table, "a", (100.5, 2), (130, 4))
    assert messages(tail) == ["line 2", "line 4"]
    assert messages(tail) == []


def test_the_last_lines_and_what_comes_after_them(jobs_table: str) -> None:
    """After the last two lines come the new ones, and never the earlier ones that were not asked for."""
    client = clients.dynamodb()
    write(client, jobs_table, "a", *((second, second) for second in range(20)))
    tail = LogTail(Table(client, jobs_table), "a")
    assert [line.message for line in tail.last(2)] == ["line 18", "line 19"]
    assert messages(tail) == []
    write(client, jobs_table, "a", (20, 20))
    assert messages(tail) == ["line 20"]


def test_no_lines_at_first(jobs_table: str) -> None:
    """`last(0)` shows nothing of what is there, and everything that comes."""
    client = clients.dynamodb()
    tail = LogTail(Table(client, jobs_table), "a")
    assert tail.last(0) == []
    write(client, jobs_table, "a", (1, 1))
    assert messages(tail) == ["line 1"]
    other = LogTail(Table(client, jobs_table), "a")
    assert other.last(0) == []
    assert messages(other) == []


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.lists(st.integers(0, 25), max_size=6), max_size=5))
def test_batches_in_any_order_within_the_overlap(jobs_table: str, batches: list[list[int]]) -> None:
    """However lines of half a minute land, each is given exactly once."""
    client, job_id = clients.dynamodb(), str(uuid4())
    tail, given_lines, seq = LogTail(Table(client, jobs_table), job_id), [], 0
    for batch in batches:
        lines = [(float(second), seq := seq + 1) for second in batch]
        write(client, jobs_table, job_id, *lines)
        given_lines += messages(tail)
    assert sorted(given_lines) == sorted(f"line {number}" for number in range(1, seq + 1))
