"""Commands on jobs whose rows this version cannot read: what is wrong in a line, and no traceback."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.dynamo import Item, Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.errors import UserError
from receipt_trainer.fleet.spend import read_job_spend
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.submit import submit
from tests.cli.jobs import Caller
from tests.odd_rows import ODD


@pytest.fixture
def odd(jobs_table: str) -> dict[str, str]:
    """A job of each kind of oddness -> what is said of it."""
    client, found = clients.dynamodb(), {}
    table = JobTable(client, jobs_table)
    for number, (change, reason) in enumerate(ODD.values()):
        job = Job(str(uuid4()), f"odd-{number}", "PENDING", queue_url="https://queue/a.fifo", pool="gpu", model="tiny")
        dynamo.put(client, jobs_table, table.create(job).to_row() | change, "spoil the row")
        found[job.job_id] = reason
    return found


def stored(table: str) -> list[Item]:
    """All rows."""
    return list(dynamo.scan(clients.dynamodb(), table, "read the rows"))


@pytest.mark.parametrize("command", ["cancel", "retry"])
def test_they_are_not_steered(odd: dict[str, str], jobs_table: str, call: Caller, command: str) -> None:
    """Exit code 2, and one line with job, attribute and what to do; the rows stay as they are."""
    before = stored(jobs_table)
    for job_id, reason in odd.items():
        said = call(command, job_id)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert said.err.startswith(f"error: the row of job {job_id} cannot be read: {reason}")
        assert "repair the row" in said.err
    assert stored(jobs_table) == before


def test_they_are_shown(odd: dict[str, str], call: Caller) -> None:
    """State and reason, by each command that shows a job."""
    for job_id, reason in odd.items():
        for arguments in (["job-status"], ["job-details"], ["watch", "--once"]):
            said = call(*arguments, job_id)
            assert said.code == 0, said.err
            assert job_id in said.out
            assert "(unreadable)" in said.out
            assert reason in said.out
        for arguments in (["job-status", "--json"], ["job-details", "--json"], ["watch", "--once", "--json"]):
            assert call(*arguments, job_id).json["unreadable"].startswith(reason)


def test_they_are_listed(odd: dict[str, str], call: Caller) -> None:
    """Beside the others, with their reasons."""
    said = call("jobs")
    assert (said.code, said.out.count("(unreadable)")) == (0, len(odd)), said.err
    listed = {job["job_id"]: job["unreadable"] for job in call("jobs", "--json").json}
    assert listed.keys() == odd.keys()
    for job_id, reason in odd.items():
        assert listed[job_id].startswith(reason)
        assert reason[:20] in said.out


def test_they_stop_no_other_reader(odd: dict[str, str], jobs_table: str, call: Caller) -> None:
    """The dollars of today, the newest job, a search by name, and a submission of the same token."""
    assert read_job_spend(Table(clients.dynamodb(), jobs_table), utc_now()) == []
    assert call("watch", "--once").code == 0
    for number, (job_id, reason) in enumerate(odd.items()):
        assert call("job-status", f"odd-{number}").code == 0
        with pytest.raises(UserError, match=re.escape(reason)):
            submit(
                Job(job_id, "odd", "PENDING"),
                JobTable(clients.dynamodb(), jobs_table),
                SqsQueue(clients.sqs(), "http://127.0.0.1/none.fifo"),
            )
