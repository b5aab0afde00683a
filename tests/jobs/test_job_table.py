"""Jobs in a real table: claims, leases, endings, and who is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.dynamo import Item, Table
from receipt_trainer.contract.tables import iso, job_pk
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.model import Attempt, Job, State
from receipt_trainer.jobs.repository import JobTable, LeaseLost
from receipt_trainer.jobs.state_machine import MAX_LOST, Refusal
from receipt_trainer.jobs.views import read_past
from tests.job_rows import put_job

LEASE_S = 60.0
START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Clock:
    """A time of day that only a test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    """The clock of all workers of a test."""
    return Clock()


@pytest.fixture
def table(jobs_table: str, clock: Clock) -> JobTable:
    """A jobs table with the PENDING job `job`."""
    table = JobTable(clients.dynamodb(), jobs_table, clock=clock, sleep=lambda seconds: None)
    table.create(Job("job", "a-job", "PENDING", queue_url="https://queue/a.fifo", spec={"model": "tiny"}))
    return table


def claim(table: JobTable, worker: str = "w1") -> Attempt:
    """A claim that must be granted."""
    attempt = table.claim("job", worker, LEASE_S, {"instance_id": f"i-{worker}", "price_usd_per_h": 0.5})
    assert isinstance(attempt, Attempt)
    return attempt


def rows(name: str, prefix: str) -> list[Item]:
    """Rows of the job in the order of their keys."""
    keys, values = "PK = :pk", {":pk": job_pk("job")}
    client = clients.dynamodb()
    found = dynamo.query(client, name, "read", KeyConditionExpression=keys, ExpressionAttributeValues=values)
    return [row for row in found if row["SK"].startswith(prefix)]


def test_from_claim_to_success(table: JobTable, jobs_table: str, clock: Clock) -> None:
    """The way of a job leaves its result in its row, one row a change of state, and the attempt with its times."""
    attempt = claim(table)
    clock.pass_s(1)
    table.start(attempt, 7)
    clock.pass_s(9)
    table.succeed(attempt, 0.75, "s3://bucket/run")
    job = table.get("job")
    assert (job.status, job.f1, job.artifacts, job.worker_id) == ("SUCCEEDED", 0.75, "s3://bucket/run", None)
    past = read_past(Table(clients.dynamodb(), jobs_table), "job", clock())
    assert [row["to"] for row in past.transitions] == ["PENDING", "CLAIMED", "RUNNING", "SUCCEEDED"]
    (kept,) = past.attempts
    assert (kept["outcome"], kept["start_step"], kept["seconds"], kept["instance_id"]) == ("SUCCEEDED", 7, 10.0, "i-w1")
    assert rows(jobs_table, "ATTEMPT#")[0]["SK"] == "ATTEMPT#000001"


def test_changes_of_one_instant_stay_apart(table: JobTable, jobs_table: str) -> None:
    """Where no time passes between changes, none of their rows is lost and they stay in order."""
    attempt = claim(table)
    table.start(attempt, None)
    table.interrupt(attempt, "notice", None)
    claim(table)
    found = [row["to"] for row in rows(jobs_table, "STATUS#")]
    assert found == ["PENDING", "CLAIMED", "RUNNING", "INTERRUPTED", "CLAIMED"]


def test_only_one_of_many_claims_is_granted(table: JobTable) -> None:
    """Twelve workers that claim at once: one has the job, the others are told until when."""
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: table.claim("job", f"w{n}", LEASE_S, {}), range(12)))
    (granted,) = [answer for answer in answers if isinstance(answer, Attempt)]
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert {answer.lease_expires_at for answer in refused} == {granted.lease_expires_at}
    assert table.get("job").worker_id == granted.worker_id


def test_who_lost_the_lease_can_write_nothing(table: JobTable, jobs_table: str, clock: Clock) -> None:
    """Every call of the former worker is refused, and no row changes by it."""
    lost = claim(table)
    table.start(lost, None)
    clock.pass_s(LEASE_S)
    claim(table, "w2")
    before = rows(jobs_table, "")
    calls = [
        lambda: table.start(lost, 1),
        lambda: table.renew(lost, LEASE_S),
        lambda: table.interrupt(lost, "late", 5),
        lambda: table.succeed(lost, 1.0, None),
        lambda: table.fail(lost, "late"),
        lambda: table.end_cancelled(lost, "late"),
    ]
    for call in calls:
        with pytest.raises(LeaseLost):
            call()
    assert rows(jobs_table, "") == before
    kept = read_past(Table(clients.dynamodb(), jobs_table), "job", clock()).attempts
    assert [(row["outcome"], row["seconds"]) for row in kept] == [("LOST", LEASE_S), (None, 0.0)]


def test_an_interruption_is_no_failure(table: JobTable, jobs_table: str) -> None:
    """An interrupted job is claimed again with its checkpoint's step kept and no failure counted."""
    attempt = claim(table)
    assert table.interrupt(attempt, "spot notice", 40) == "INTERRUPTED"
    assert claim(table, "w2").number == 2
    assert table.get("job").num_failures == 0
    assert rows(jobs_table, "CHECKPOINT#")[0]["SK"] == "CHECKPOINT#0000000040"
    assert rows(jobs_table, "ATTEMPT#")[0]["checkpoint_step"] == 40


def test_failures_to_the_limit(table: JobTable, jobs_table: str) -> None:
    """A failed job waits again until its limit; the reason of every attempt is kept, the last one with the job."""
    reached = [table.fail(claim(table), f"reason {n}") for n in (1, 2, 3)]
    assert reached == ["PENDING", "PENDING", "FAILED"]
    assert table.get("job").reason == "reason 3"
    assert [row["reason"] for row in rows(jobs_table, "ATTEMPT#")] == ["reason 1", "reason 2", "reason 3"]
    refusal = table.claim("job", "w1", LEASE_S, {})
    assert isinstance(refusal, Refusal)
    assert refusal.kind == "done"


def test_a_hostile_reason_is_kept_within_bounds(table: JobTable) -> None:
    """Half characters and a megabyte of traceback do not keep a failure from being written; its end is kept."""
    assert table.fail(claim(table), "x" * 1_000_000 + " \udcff out of memory", final=True) == "FAILED"
    reason = table.get("job").reason
    assert reason is not None
    assert reason.endswith(" ? out of memory")
    assert len(reason) <= 4000


def test_an_ending_may_be_repeated(table: JobTable) -> None:
    """The same ending of the same attempt, written twice, says the same and counts once; another one is refused."""
    attempt = claim(table)
    assert [table.fail(attempt, "once"), table.fail(attempt, "once")] == ["PENDING", "PENDING"]
    assert table.get("job").num_failures == 1
    claim(table, "w2")
    assert table.fail(attempt, "once") == "PENDING"
    with pytest.raises(LeaseLost):
        table.succeed(attempt, 1.0, None)


def test_a_job_that_loses_its_workers_fails(table: JobTable, clock: Clock) -> None:
    """After the last vanished worker that is allowed, a claim fails the job with a reason."""
    for _ in range(MAX_LOST):
        claim(table)
        clock.pass_s(LEASE_S)
    refusal = table.claim("job", "w1", LEASE_S, {})
    assert isinstance(refusal, Refusal)
    job = table.get("job")
    assert (job.status, job.num_lost, job.attempt) == ("FAILED", MAX_LOST, MAX_LOST)


def test_trying_again_forgets_failures_and_keeps_numbers(table: JobTable) -> None:
    """A retried job has all its failures before it again, and its attempts are numbered on."""
    table.fail(claim(table), "broken", final=True)
    job = table.retry("job")
    assert (job.status, job.num_failures, job.reason) == ("PENDING", 0, None)
    assert table.retry("job") == job
    assert claim(table).number == 2


def test_what_is_not_there(table: JobTable) -> None:
    """A claim of an unknown job is refused, and a user is told."""
    assert table.claim("other", "w1", LEASE_S, {}) == Refusal("not there")
    with pytest.raises(UserError, match="there is no job 'other'"):
        table.cancel("other")


def test_a_job_is_made_once(table: JobTable) -> None:
    """Making a job that is there changes nothing and returns what is there."""
    claim(table)
    assert table.create(Job("job", "another-name", "PENDING")).name == "a-job"
    assert table.get("job").status == "CLAIMED"


def test_a_run_without_a_queue_has_a_row_of_its_own(table: JobTable, clock: Clock) -> None:
    """It is made once, changes as whoever runs it says, each time with a STATUS row, and keeps its place in lists."""
    said: tuple[State, ...] = ("RUNNING", "RUNNING", "FAILED", "RUNNING", "SUCCEEDED")
    for status in said:
        clock.pass_s(1)
        table.set_status("laptop", "mine", status)
    job = table.get("laptop")
    assert (job.name, job.status, job.version, job.created_at) == ("mine", "SUCCEEDED", 4, iso(START + SECOND))
    past = read_past(table.table, "laptop", clock())
    assert [row["to"] for row in past.transitions] == ["RUNNING", "FAILED", "RUNNING", "SUCCEEDED"]
    with pytest.raises(UserError, match="not submitted to a queue"):
        table.retry("laptop")


def test_a_row_of_an_older_run_without_a_queue_is_changed(table: JobTable) -> None:
    """Such a row counts no changes; the first one by this version begins to count."""
    put_job(table.table.name, "old", name="mine", status="INTERRUPTED", created_at="2026-11-01T00:00:00+00:00")
    table.set_status("old", "mine", "RUNNING")
    assert (table.get("old").status, table.get("old").version) == ("RUNNING", 1)


def test_no_run_writes_over_a_job_that_a_queue_knows(table: JobTable) -> None:
    """Whoever trains in the folder of such a job on a laptop is refused, and the job stays what it is."""
    with pytest.raises(UserError, match="job job was submitted to a queue"):
        table.set_status("job", "a-job", "RUNNING")
    assert table.get("job").status == "PENDING"
