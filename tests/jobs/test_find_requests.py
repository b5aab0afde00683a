"""How much of the jobs table a search reads: the requests of a history that no page holds, and older tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract.tables import (
    JOBS,
    JOBS_BY_CHANGE,
    JOBS_BY_ID,
    TableShape,
    attempt_sk,
    iso,
    job_pk,
    numbered,
)
from receipt_trainer.errors import UserError
from receipt_trainer.fleet.spend import read_job_spend
from receipt_trainer.jobs import rows as find
from receipt_trainer.jobs.rows import job_id_of
from tests.cli.jobs import NOON, add_job
from tests.fault_proxy import FaultProxy

H = timedelta(hours=1)
LONG = "s" * 45_000
"""A spec with which 300 jobs are more than 13 pages of an index."""


def row_0_1_0(status: str, changed: datetime, job_id: str | None = None) -> dict[str, Any]:
    """A job's row as version 0.1.0 wrote it, and as every version since does, with a long spec."""
    given = job_id or str(uuid4())
    created = iso(changed - H)
    order = f"{created}#{given}"
    row = {"PK": f"JOB#{given}", "SK": "JOB", "TYPE": "JOB", "GSI1PK": f"STATUS#{status}", "GSI1SK": order}
    row |= {"GSI2PK": "NAME#a", "GSI2SK": order, "job_id": given, "name": "a", "status": status, "attempt": 1}
    row |= {"version": 3, "num_failures": 0, "max_failures": 3, "num_lost": 0, "priority": "normal", "model": "tiny"}
    return row | {"pool": "gpu", "spec": LONG, "created_at": created, "updated_at": iso(changed)}


def attempt(job_id: str, began: datetime, ended: datetime) -> dict[str, Any]:
    """An ATTEMPT row at a dollar an hour."""
    times = {"started_at": iso(began), "ended_at": iso(ended)}
    return {"PK": job_pk(job_id), "SK": attempt_sk(1), "job_id": job_id, "attempt": 1, "price_usd_per_h": 1.0} | times


def fill(table: str, num_jobs: int) -> list[dict[str, Any]]:
    """Jobs of earlier days, and at the end two of today that ran an hour and one that waits; their rows."""
    states = ("SUCCEEDED", "FAILED", "CANCELLED", "SUCCEEDED")
    rows = [row_0_1_0(states[n % 4], NOON - timedelta(days=1 + n % 90)) for n in range(num_jobs)]
    today = [row_0_1_0("SUCCEEDED", NOON - 2 * H), row_0_1_0("FAILED", NOON - 3 * H)]
    rows += [*today, row_0_1_0("PENDING", NOON) | {"attempt": 0}]
    attempts = [attempt(row["job_id"], NOON - 4 * H, NOON - 3 * H) for row in today]
    dynamo.batch_write(clients.dynamodb(), table, "fill", puts=[*rows, *attempts])
    return rows


def test_neither_the_fleet_nor_a_prefix_reads_the_history(jobs_table: str, fault_proxy: FaultProxy) -> None:
    """With a history of more than 13 pages both take at most 10 requests to the jobs table, and one for each job that
    ran today; the rows are those of 0.1.0."""
    rows = fill(jobs_table, 300)
    client = clients.dynamodb()
    fault_proxy.calls.clear()
    assert len(find.find(Table(client, jobs_table), find.Wanted())) == 303
    assert fault_proxy.calls.total() > 13  # what reading the history takes

    fault_proxy.calls.clear()
    spent = read_job_spend(Table(client, jobs_table), NOON)
    assert [one.cost.usd for one in spent] == [pytest.approx(1.0)] * 2
    assert fault_proxy.calls.total() <= 10 + len(spent)

    for row in (rows[0], rows[150], rows[-1]):
        fault_proxy.calls.clear()
        assert job_id_of(Table(client, jobs_table), row["job_id"][:8]) == row["job_id"]
        assert fault_proxy.calls.total() <= 10
    fault_proxy.calls.clear()
    with pytest.raises(UserError, match="there is no job 'mistyped'"):
        job_id_of(Table(client, jobs_table), "mistyped")
    assert fault_proxy.calls.total() <= 10


@pytest.fixture
def table_0_1_0(aws: object, fault_proxy: FaultProxy) -> Iterator[str]:
    """A jobs table of the shape that version 0.1.0 made."""
    name, client = f"jobs-{uuid4().hex[:12]}", clients.dynamodb()
    client.create_table(**TableShape("jobs", numbered(2)).create_arguments(name))
    yield name
    client.delete_table(TableName=name)


def test_a_table_without_the_indexes_is_read_as_before(table_0_1_0: str) -> None:
    """On a stack that has not been updated the fleet's spend and a prefix are right, too."""
    rows = fill(table_0_1_0, 3)
    client = clients.dynamodb()
    assert [one.cost.usd for one in read_job_spend(Table(client, table_0_1_0), NOON)] == [pytest.approx(1.0)] * 2
    assert job_id_of(Table(client, table_0_1_0), rows[0]["job_id"][:8]) == rows[0]["job_id"]


@pytest.mark.parametrize(
    "said",
    [
        "The table does not have the specified index: {index}",
        "Cannot read from backfilling global secondary index: {index}",
    ],
)
def test_what_dynamodb_says_of_a_missing_index_is_understood(
    said: str, jobs_table: str, fault_proxy: FaultProxy
) -> None:
    """In DynamoDB's own words: an index that is not there, or not filled yet, is not needed."""
    job_id = add_job(jobs_table, job_id="abcdef12-0000-4000-8000-000000000000", updated_at=iso(NOON))

    def refuse(name: str, count: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        index = body.get("IndexName")
        if index not in (JOBS_BY_ID.name, JOBS_BY_CHANGE.name):
            return None
        kind = "com.amazon.coral.validate#ValidationException"
        return 400, {"__type": kind, "message": said.format(index=index)}

    fault_proxy.rule = refuse
    client = clients.dynamodb()
    assert job_id_of(Table(client, jobs_table), "abcdef") == job_id
    assert [row["job_id"] for row in find.find_changed(Table(client, jobs_table), NOON)] == [job_id]
    assert find.find_changed(Table(client, jobs_table), NOON + H) == []


def test_an_older_table_is_given_the_indexes_as_it_stands(table_0_1_0: str, fault_proxy: FaultProxy) -> None:
    """Added by UpdateTable, as an update of the stack does, they find the jobs that were there before."""
    rows, client = fill(table_0_1_0, 3), clients.dynamodb()
    wanted = JOBS.create_arguments(table_0_1_0)
    for index in wanted["GlobalSecondaryIndexes"][2:]:
        client.update_table(
            TableName=table_0_1_0,
            AttributeDefinitions=wanted["AttributeDefinitions"],
            GlobalSecondaryIndexUpdates=[{"Create": index}],
        )
    fault_proxy.calls.clear()
    assert job_id_of(Table(client, table_0_1_0), rows[0]["job_id"][:8]) == rows[0]["job_id"]
    assert len(read_job_spend(Table(client, table_0_1_0), NOON)) == 2
    assert fault_proxy.calls == {"Query": 2 + len(find.STATES) + len(find.STATES) + 2}


def test_rows_of_another_kind_are_no_jobs(jobs_table: str) -> None:
    """A row that is no job's own and bears both keys of an index is not taken for one."""
    job_id = add_job(jobs_table, job_id="abcdef12-0000-4000-8000-000000000000", updated_at=iso(NOON), status="FAILED")
    other = {"job_id": "abcdef99", "status": "FAILED", "updated_at": iso(NOON)}
    dynamo.put(clients.dynamodb(), jobs_table, {"PK": "NOTICES", "SK": "2026#abcdef99", **other}, "put another row")
    assert job_id_of(Table(clients.dynamodb(), jobs_table), "abcdef") == job_id
    assert [row["job_id"] for row in find.find_changed(Table(clients.dynamodb(), jobs_table), NOON)] == [job_id]
