"""Jobs found by state, name, pool, time, and by what people call them."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract.tables import iso, job_pk
from receipt_trainer.errors import UserError
from receipt_trainer.jobs import rows as find
from receipt_trainer.jobs.rows import Wanted, job_id_of
from tests.cli.jobs import NOON, add_job
from tests.fault_proxy import FaultProxy


def found(table: str, wanted: Wanted, limit: int | None = None) -> list[str]:
    """Ids that are found."""
    return [row["job_id"] for row in find.find(Table(clients.dynamodb(), table), wanted, limit)]


def test_filters_and_order(jobs_table: str) -> None:
    """Every filter leaves out what it should, all together too, and the newest comes first whatever its state."""
    old = add_job(jobs_table, name="x", status="RUNNING")
    new = add_job(jobs_table, name="x", status="FAILED", minutes=3, pool="cpu")
    middle = add_job(jobs_table, name="y", status="RUNNING", minutes=2)
    since = NOON + timedelta(minutes=2)
    assert found(jobs_table, Wanted()) == [new, middle, old]
    assert found(jobs_table, Wanted(), 2) == [new, middle]
    assert found(jobs_table, Wanted(status="RUNNING")) == [middle, old]
    assert found(jobs_table, Wanted(name="x")) == [new, old]
    assert found(jobs_table, Wanted(pool="gpu")) == [middle, old]
    assert found(jobs_table, Wanted(since=since)) == [new, middle]
    assert found(jobs_table, Wanted("FAILED", "x", "cpu", since)) == [new]
    assert found(jobs_table, Wanted("RUNNING", "x", "cpu", since)) == []


def test_a_listing_reads_pages_and_no_row_a_job(jobs_table: str, fault_proxy: FaultProxy) -> None:
    """The newest 20 of 1,500 jobs take one query a state, and all of them a few more."""
    rows = []
    for minute in range(1500):
        job_id, created = str(uuid4()), iso(NOON + timedelta(minutes=minute))
        keys = {"GSI1PK": "STATUS#PENDING", "GSI2PK": "NAME#x", "GSI1SK": f"{created}#{job_id}"}
        row = {"PK": job_pk(job_id), "SK": "JOB", "job_id": job_id, "status": "PENDING", "name": "x"}
        rows.append({**row, **keys, "GSI2SK": keys["GSI1SK"], "created_at": created, "spec": "s" * 2000})
    dynamo.batch_write(clients.dynamodb(), jobs_table, "seed", puts=rows)
    fault_proxy.calls.clear()
    assert found(jobs_table, Wanted(), 20) == [row["job_id"] for row in reversed(rows)][:20]
    assert fault_proxy.calls == {"Query": len(find.STATES)}
    fault_proxy.calls.clear()
    assert len(found(jobs_table, Wanted())) == 1500
    assert set(fault_proxy.calls) == {"Query"}
    assert fault_proxy.calls.total() <= len(find.STATES) + 4  # 3 MB, 1 MB a page
    assert "spec" not in find.find(Table(clients.dynamodb(), jobs_table), Wanted(), 1)[0]


def test_a_job_is_called_by_id_prefix_or_name(jobs_table: str) -> None:
    """The whole id, six characters of it in either case, and a name that one job bears all name it."""
    job_id = add_job(jobs_table, job_id="abcdef12-0000-4000-8000-000000000000", name="mine")
    add_job(jobs_table, job_id="abcde000-0000-4000-8000-000000000000", name="other")
    client = clients.dynamodb()
    for called in (job_id, "abcdef", "ABCDEF12", "mine"):
        assert job_id_of(Table(client, jobs_table), called) == job_id


@pytest.mark.parametrize(
    ("called", "said"),
    [
        ("twice", ["may be any of several", "aaaaaaaa-1", "aaaaaaaa-2", "twice"]),
        ("aaaaaaaa", ["may be any of several", "aaaaaaaa-1", "aaaaaaaa-2"]),
        ("aaaaa", ["there is no job 'aaaaa'", "at least 6"]),
        ("nobody", ["there is no job 'nobody'", "receipt-trainer jobs"]),
        ("", ["JOB must be"]),
        ("x" * 3000, ["JOB must be"]),
        ("twic", ["there is no job"]),
    ],
)
def test_what_names_no_single_job_is_one_line(called: str, said: list[str], jobs_table: str) -> None:
    """An ambiguous or unknown name is refused with the candidates or what to do."""
    for number in (1, 2):
        add_job(jobs_table, job_id=f"aaaaaaaa-{number}", name="twice")
    with pytest.raises(UserError) as error:
        job_id_of(Table(clients.dynamodb(), jobs_table), called)
    assert all(words in str(error.value) for words in said), error.value


def test_many_candidates_are_not_all_listed(jobs_table: str) -> None:
    """Of many jobs of one name five are listed, and it is said that there are more."""
    for number in range(8):
        add_job(jobs_table, job_id=f"job-number-{number}", name="same", minutes=number)
    with pytest.raises(UserError, match=r"job-number-7 .*job-number-3 .*and more") as error:
        job_id_of(Table(clients.dynamodb(), jobs_table), "same")
    assert "job-number-2" not in str(error.value)
