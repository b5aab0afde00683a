"""What today cost, from rows of attempts and instances."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract import cost
from receipt_trainer.contract.tables import attempt_sk, instance_pk, iso, job_pk, job_status_pk
from receipt_trainer.fleet.spend import clipped, instance_spend, midnight_before, read_job_spend
from receipt_trainer.jobs.instances import Instance
from receipt_trainer.jobs.views import read_past
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.worker.registry import InstanceRegistry, WorkerMachine
from tests.cli.jobs import add_job
from tests.fault_proxy import FaultProxy

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
H = timedelta(hours=1)


def instance(began: datetime, **changes: Any) -> Instance:
    """A worker that began then, at a dollar an hour, and beats."""
    known: dict[str, Any] = dict.fromkeys(Instance.__dataclass_fields__)
    known |= {"instance_id": "i-1", "status": "RUNNING", "instance_type": "g6.xlarge", "price_usd_per_h": 1.0}
    known |= {"started_at": iso(began), "seen_at": iso(NOON), "is_list_price": False}
    return Instance(**known | changes)


def test_instances_count_from_midnight_to_their_end() -> None:
    """Yesterday's hours are yesterday's; one that ended stops there, and one that is late at its last heartbeat."""
    since_yesterday = instance(NOON - 20 * H)
    ended = instance(NOON - 4 * H, status="ENDED", ended_at=iso(NOON - 3 * H))
    late = instance(NOON - 4 * H, seen_at=iso(NOON - 2 * H))
    before = instance(NOON - 30 * H, status="ENDED", ended_at=iso(NOON - 20 * H))
    found = instance_spend([since_yesterday, ended, late, before], NOON)
    assert (found.num_instances, found.usd) == (3, pytest.approx(12 + 1 + 2))


def test_what_is_not_known_is_said() -> None:
    """Without a price time counts and dollars do not; a list price is marked; a laptop costs nothing here."""
    none = instance(NOON - H, price_usd_per_h=None)
    listed = instance(NOON - H, price_usd_per_h=2.0, is_list_price=True)
    laptop = instance(NOON - H, instance_type=None)
    found = instance_spend([none, listed, laptop], NOON)
    assert (found.usd, found.seconds) == (pytest.approx(2.0), 7200)
    assert (found.num_instances, found.num_unknown, found.num_at_list_price) == (2, 1, 1)
    assert instance_spend([none], NOON).usd is None


def attempt(began: datetime, ended: datetime | None, price: float | None = 1.0) -> dict[str, Any]:
    """An ATTEMPT row."""
    row: dict[str, Any] = {"started_at": iso(began)}
    return row | ({"ended_at": iso(ended)} if ended else {}) | ({} if price is None else {"price_usd_per_h": price})


def test_jobs_of_today_and_only_their_part_of_today(jobs_table: str) -> None:
    """A job over midnight costs its hours since then; one that ended yesterday is not there, one still running is,
    though nothing of it was written today; the dearest comes first."""
    jobs = {
        "over-midnight": ("SUCCEEDED", NOON - 10 * H, [attempt(NOON - 14 * H, NOON - 10 * H)]),
        "yesterday": ("SUCCEEDED", NOON - 20 * H, [attempt(NOON - 22 * H, NOON - 20 * H)]),
        "runs": ("RUNNING", NOON - 13 * H, [attempt(NOON - 13 * H, None)]),
        "waits": ("PENDING", NOON, []),
        "twice": ("FAILED", NOON, [attempt(NOON - 3 * H, NOON - 2 * H), attempt(NOON - 2 * H, NOON, None)]),
    }
    for name, (status, changed, attempts) in jobs.items():
        job_id = add_job(jobs_table, name=name, status=status, updated_at=iso(changed), attempt=len(attempts))
        for number, row in enumerate(attempts, 1):
            key = {"PK": job_pk(job_id), "SK": attempt_sk(number)}
            dynamo.put(clients.dynamodb(), jobs_table, key | row, "put an attempt")
    found = read_job_spend(Table(clients.dynamodb(), jobs_table), NOON)
    assert [(one.name, one.cost.usd) for one in found] == [
        ("runs", pytest.approx(12.0)),
        ("over-midnight", pytest.approx(2.0)),
        ("twice", pytest.approx(1.0)),
    ]
    assert [one.cost.num_unknown for one in found] == [0, 0, 1]


def test_a_vanished_workers_job_costs_to_the_end_of_its_lease(jobs_table: str) -> None:
    """With nobody to close the attempt the job stops costing when the lease ran out, in the fleet's spend and in the
    job's own details alike; one whose lease ran out before today is not there."""
    leases = {"today": NOON - 8 * H, "days-ago": NOON - 72 * H}
    ids = {}
    for name, until in leases.items():
        given = {"status": "RUNNING", "updated_at": iso(until), "lease_expires_at": iso(until), "attempt": 1}
        ids[name] = add_job(jobs_table, name=name, **given)
        key = {"PK": job_pk(ids[name]), "SK": attempt_sk(1)}
        dynamo.put(clients.dynamodb(), jobs_table, key | attempt(until - 2 * H, None), "put an attempt")
    found = read_job_spend(Table(clients.dynamodb(), jobs_table), NOON)
    assert [(one.name, one.cost.usd) for one in found] == [("today", pytest.approx(2.0))]
    for job_id in ids.values():
        past = read_past(Table(clients.dynamodb(), jobs_table), job_id, NOON)
        assert past.cost.usd == pytest.approx(2.0)
        assert past.attempts[0]["usd"] == pytest.approx(2.0)


def test_a_job_that_changes_its_state_while_it_is_listed_is_there_once(
    jobs_table: str, fault_proxy: FaultProxy
) -> None:
    """Indexes are read state by state: a job found in two of them is of today once, and costs once."""
    job_id = add_job(jobs_table, name="moves", status="RUNNING", updated_at=iso(NOON), attempt=1)
    key = {"PK": job_pk(job_id), "SK": attempt_sk(1)}
    dynamo.put(clients.dynamodb(), jobs_table, key | attempt(NOON - H, NOON), "put an attempt")
    listed = {
        "SK": "JOB",
        "job_id": job_id,
        "name": "moves",
        "updated_at": iso(NOON),
        "GSI1SK": iso(NOON),
        "attempt": 1,
    }
    seen = []

    def twice(name: str, count: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        values = body.get("ExpressionAttributeValues", {})
        asked = {values[key]["S"] for key in (":pk", ":status") if key in values}
        for status in ("RUNNING", "SUCCEEDED"):
            if body.get("IndexName") and asked & {job_status_pk(status), status}:
                seen.append(status)
                return 200, {"Items": [dynamo.serialise(listed | {"status": status})], "Count": 1}
        return None

    fault_proxy.rule = twice
    found = read_job_spend(Table(clients.dynamodb(), jobs_table), NOON)
    assert seen == ["RUNNING", "SUCCEEDED"]
    assert [(one.job_id, one.cost.usd) for one in found] == [(job_id, pytest.approx(1.0))]


def test_an_instance_whose_worker_was_started_again_costs_from_its_first_start(aws: LocalCloud) -> None:
    """The second process on an instance keeps the start of the first, and takes away the mark of silence; a laptop's
    worker has a row of its own."""
    table, client = aws.table_names["instances"], clients.dynamodb()
    machine = WorkerMachine("i-again-1", "gpu-again", "i-again", "g6.xlarge", "us-east-1a", "spot", 1.0)
    InstanceRegistry(client, table, machine, clock=lambda: NOON - 3 * H).register()
    key = dynamo.serialise({"PK": instance_pk("i-again"), "SK": "INSTANCE"})
    marked = {"UpdateExpression": "SET silent_since = :now", "ExpressionAttributeValues": {":now": {"S": iso(NOON)}}}
    client.update_item(TableName=table, Key=key, **marked)
    again = InstanceRegistry(client, table, replace(machine, worker_id="i-again-2"), clock=lambda: NOON)
    again.register()
    again.idle()
    row = dynamo.deserialise(client.get_item(TableName=table, Key=key)["Item"])
    client.delete_item(TableName=table, Key=key)
    assert (row["worker_id"], row["started_at"]) == ("i-again-2", iso(NOON - 3 * H))
    assert "silent_since" not in row
    assert instance_spend([instance(NOON, started_at=row["started_at"])], NOON).usd == pytest.approx(3.0)


HOURS = st.floats(-48, 12, allow_nan=False)


@given(st.lists(st.tuples(HOURS, st.none() | st.floats(0, 30)), max_size=4))
def test_today_is_never_more_than_all(spans: list[tuple[float, float | None]]) -> None:
    """Whatever the attempts were, what they cost today lies between nothing and what they cost in all."""
    rows = [
        attempt(NOON + began * H, None if took is None else NOON + (began + took) * H)
        for began, took in sorted(spans, key=str)
    ]
    since = midnight_before(NOON)
    today, whole = cost.of_attempts(clipped(rows, since, NOON), NOON), cost.of_attempts(rows, NOON)
    assert 0 <= today.seconds <= whole.seconds + 1e-3
    assert (today.usd or 0) <= (whole.usd or 0) + 1e-6
