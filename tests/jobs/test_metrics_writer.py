"""Metrics and log lines of a job, written while it trains."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract.sinks import MetricsSink
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.metrics_writer import JobStore
from receipt_trainer.jobs.rows import LOGS, get_job, rows_of
from tests.fault_proxy import THROTTLED, Answer, FaultProxy
from tests.job_rows import messages, metrics, put_job
from tests.waiting import TIMEOUT_S

INSTANT = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
NEVER_S = 3600.0


def open_store(table: str, *, max_pending: int = 1000, clock: Callable[[], datetime] = lambda: INSTANT) -> JobStore:
    """A store whose thread does not flush by itself and that never sleeps."""
    return JobStore(
        Table(clients.dynamodb(), table),
        "job-1",
        interval_s=NEVER_S,
        max_pending=max_pending,
        clock=clock,
        sleep=lambda seconds: None,
    )


def test_two_rows_of_one_instant_stay_two(jobs_table: str) -> None:
    """Metrics and log lines of the same microsecond are all kept, in the order in which they came."""
    store: MetricsSink = open_store(jobs_table)
    for step in range(60):
        store.metric("loss", 1 / (step + 1), step=step, epoch=0.5)
        store.log("info", f"line {step}")
    store.close()
    found = metrics(jobs_table, "job-1")
    assert [(row["step"], row["value"]) for row in found] == [(step, 1 / (step + 1)) for step in range(60)]
    assert {row["timestamp"] for row in found} == {"2026-11-20T12:00:00.123456+00:00"}
    assert messages(jobs_table, "job-1") == [f"line {step}" for step in range(60)]


def test_rows_have_the_contracts_keys(jobs_table: str) -> None:
    """A metric row is `METRIC#<name>#<ts>#<seq>` and carries what it says as attributes."""
    store = open_store(jobs_table)
    store.metric("eval/f1", 0.5, step=7, epoch=1)
    store.close()
    (item,) = clients.dynamodb().scan(TableName=jobs_table)["Items"]
    assert item["PK"] == {"S": "JOB#job-1"}
    assert item["SK"] == {"S": "METRIC#eval/f1#2026-11-20T12:00:00.123456+00:00#00000000"}
    assert item["TYPE"] == {"S": "JOB_METRIC"}
    assert item["value"] == {"N": "0.5"}
    assert item["job_id"] == {"S": "job-1"}


def test_rows_of_a_worker_say_which_attempt(jobs_table: str) -> None:
    """Metrics and log lines carry the claim's number, so that two attempts at one step can be told apart."""
    for attempt in (1, 2):
        store = JobStore(Table(clients.dynamodb(), jobs_table), "job-1", attempt=attempt, interval_s=NEVER_S)
        store.metric("loss", 0.5, step=7, epoch=1)
        store.log("info", "line")
        store.close()
    for rows in (metrics(jobs_table, "job-1"), rows_of(Table(clients.dynamodb(), jobs_table), "job-1", LOGS)):
        assert [row["attempt"] for row in rows] == [1, 2]


def test_values_that_dynamodb_has_no_number_for(jobs_table: str) -> None:
    """A loss that is NaN or infinite, and a message with half a character, are kept and spoil nothing."""
    store = open_store(jobs_table)
    for value in (math.nan, math.inf, 1e-200):
        store.metric("loss", value, step=0, epoch=0)
    store.log("info", "name \udcff")
    store.close()
    values = [row["value"] for row in metrics(jobs_table, "job-1", "loss")]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, 1e-200]
    assert messages(jobs_table, "job-1")[0] == "name ?"


def test_reading_one_metric_leaves_those_that_begin_like_it(jobs_table: str) -> None:
    """`loss` does not give `loss#x`, and readings come in the order of time."""
    times = iter([INSTANT.replace(second=second) for second in (5, 3, 4)])
    store = open_store(jobs_table, clock=lambda: next(times))
    for name, value in (("loss", 1.0), ("loss", 2.0), ("loss#x", 3.0)):
        store.metric(name, value, step=0, epoch=0)
    store.close()
    assert [row["value"] for row in metrics(jobs_table, "job-1", "loss")] == [2.0, 1.0]


def test_rows_survive_a_fault_and_are_written_later(
    jobs_table: str, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the table throttles, calls return at once; what was pending is written, once, when it takes rows again."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fault_proxy.rule = lambda name, count, body: THROTTLED if name == "BatchWriteItem" and count <= 2 else None
    store = open_store(jobs_table)
    for step in range(30):
        store.metric("loss", step, step=step, epoch=0)
    for _ in range(2):
        with pytest.raises(WorldError, match=r"Throttling"):
            store.flush()
    store.metric("loss", 30, step=30, epoch=0)
    store.close()
    assert [row["step"] for row in metrics(jobs_table, "job-1")] == list(range(31))


def test_close_says_how_many_rows_are_lost(
    jobs_table: str, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that never takes rows does not stop training; close tells it, with the number and the reason."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fault_proxy.rule = lambda name, count, body: THROTTLED
    store = open_store(jobs_table, max_pending=10)
    for step in range(25):
        store.log("info", f"line {step}")
    with pytest.raises(WorldError, match=r"25 rows of job job-1 not written: .*Throttling"):
        store.close()
    store.close()  # a second time it does nothing
    with pytest.raises(ValueError, match=r"closed"):
        store.log("info", "late")


def test_rows_given_up_are_told_even_if_the_rest_is_written(jobs_table: str) -> None:
    """Rows beyond the bound of what is kept are the oldest, and close does not hide that they are gone."""
    store = open_store(jobs_table, max_pending=10)
    for step in range(12):
        store.log("info", f"line {step}")
    with pytest.raises(WorldError, match=r"2 rows of job job-1 given up"):
        store.close()
    assert messages(jobs_table, "job-1")[0] == "line 2"


def test_the_thread_writes_by_itself(jobs_table: str, fault_proxy: FaultProxy) -> None:
    """Rows reach the table while the job runs, without flush or close."""
    written = threading.Event()

    def note(name: str, count: int, body: dict[str, Any]) -> Answer | None:
        if name == "BatchWriteItem":
            written.set()
        return None

    fault_proxy.rule = note
    store = JobStore(Table(clients.dynamodb(), jobs_table), "job-1", interval_s=0.01)
    store.log("info", "hello")
    assert written.wait(TIMEOUT_S)
    store.close()
    assert messages(jobs_table, "job-1") == ["hello"]


def test_many_threads_lose_nothing(jobs_table: str) -> None:
    """Rows from several threads during flushes are all written, each once."""
    store = JobStore(Table(clients.dynamodb(), jobs_table), "job-1", interval_s=0.005)

    def fill() -> None:
        for step in range(50):
            store.metric("m", step, step=step, epoch=0)

    threads = [threading.Thread(target=fill) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    steps = sorted(row["step"] for row in metrics(jobs_table, "job-1"))
    assert steps == sorted(list(range(50)) * 4)


def test_job_row(jobs_table: str) -> None:
    """The job's own row is found by id, by status (GSI1) and by name (GSI2); an unknown id is the user's error."""
    client = clients.dynamodb()
    put_job(jobs_table, "job-1", name="first", status="RUNNING", created_at="2026", lr=6e-5)
    job = get_job(Table(client, jobs_table), "job-1")
    assert (job["name"], job["status"], job["lr"]) == ("first", "RUNNING", 6e-5)
    for index, value in (("GSI1", "STATUS#RUNNING"), ("GSI2", "NAME#first")):
        found = client.query(
            TableName=jobs_table,
            IndexName=index,
            KeyConditionExpression=f"{index}PK = :value",
            ExpressionAttributeValues={":value": {"S": value}},
        )
        assert found["Count"] == 1
    with pytest.raises(UserError, match=r"there is no job 'other'"):
        get_job(Table(client, jobs_table), "other")


def test_a_checkpoints_row_comes_and_goes(jobs_table: str) -> None:
    """One that was deleted leaves no row, also where both come in one batch; one that is made again has its new row."""
    store = open_store(jobs_table)
    for step in (10, 20, 30):
        store.checkpoint(step, epoch=step / 10, path=Path(f"/runs/a/checkpoint-{step}"), size_bytes=step * 1000)
    store.checkpoint_gone(10)
    store.flush()
    store.checkpoint_gone(20)
    store.checkpoint(20, epoch=2.5, path=Path("/runs/b/checkpoint-20"), size_bytes=1)
    store.checkpoint_gone(30)
    store.close()
    (item,) = clients.dynamodb().scan(TableName=jobs_table)["Items"]
    assert item["SK"] == {"S": "CHECKPOINT#0000000020"}
    assert (item["epoch"], item["path"], item["size_bytes"]) == (
        {"N": "2.5"},
        {"S": "/runs/b/checkpoint-20"},
        {"N": "1"},
    )


def test_a_store_that_may_not_write_forgets(jobs_table: str) -> None:
    """Whoever lost the job writes nothing of it, neither then nor later."""
    may_write = False
    store = JobStore(Table(clients.dynamodb(), jobs_table), "job-1", interval_s=NEVER_S, may_write=lambda: may_write)
    store.log("info", "from one that lost its lease")
    store.flush()
    may_write = True
    store.log("info", "kept")
    store.close()
    assert messages(jobs_table, "job-1") == ["kept"]
