"""`receipt-trainer cancel` and `retry`, on jobs that the jobs room drives."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.jobs.model import Attempt, Job
from receipt_trainer.jobs.repository import JobTable, LeaseLost
from tests.cli.jobs import Caller

KEYS = ("job_id", "status", "cancel_requested")


@pytest.fixture
def jobs(jobs_table: str) -> JobTable:
    """The table as workers use it."""
    return JobTable(clients.dynamodb(), jobs_table)


def waiting(jobs: JobTable, queue_url: str) -> str:
    """A PENDING job; its id."""
    job = Job(str(uuid4()), "a-job", "PENDING", queue_url=queue_url, pool="gpu", model="tiny", spec={"model": "tiny"})
    return jobs.create(job).job_id


def claimed(jobs: JobTable, queue_url: str) -> Attempt:
    """The running attempt of a new job."""
    attempt = jobs.claim(waiting(jobs, queue_url), "w-1", 300, {"price_usd_per_h": 0.3})
    assert isinstance(attempt, Attempt)
    jobs.start(attempt, 0)
    return attempt


def queued(queue_url: str) -> list[str]:
    """The jobs whose messages can be received."""
    answer = clients.sqs().receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"])["job_id"] for message in answer.get("Messages", [])]


def test_a_waiting_job_is_cancelled_at_once(jobs: JobTable, queue_url: str, call: Caller) -> None:
    """`cancel` makes it CANCELLED, says so, and does so again without an error."""
    job_id = waiting(jobs, queue_url)
    assert call("cancel", "a-job") == (0, f"job {job_id} is CANCELLED\n", "")
    assert jobs.get(job_id).status == "CANCELLED"
    said = call("cancel", "--json", job_id).json
    assert (tuple(said), said["status"]) == (KEYS, "CANCELLED")


def test_a_running_job_is_ended_by_its_worker(jobs: JobTable, queue_url: str, call: Caller) -> None:
    """`cancel` asks; the worker's next heartbeat is told, and until then the job is shown as being cancelled."""
    attempt = claimed(jobs, queue_url)
    said = call("cancel", attempt.job_id)
    assert (said.code, said.out.count("next heartbeat")) == (0, 1)
    assert jobs.renew(attempt, 300)
    assert "RUNNING (cancelling)" in call("jobs").out
    assert call("cancel", "--json", attempt.job_id).json["cancel_requested"] is True
    jobs.end_cancelled(attempt, "asked for")
    assert call("job-status", "--json", attempt.job_id).json["status"] == "CANCELLED"


def test_a_failed_job_is_queued_again(jobs: JobTable, queue_url: str, call: Caller) -> None:
    """`retry` makes it PENDING, sends its message, and keeps the failed attempt and its reason."""
    attempt = claimed(jobs, queue_url)
    jobs.fail(attempt, "there is no table 'x'", final=True)
    said = call("retry", "--json", attempt.job_id).json
    assert (tuple(said), said["status"], said["launch"]) == ((*KEYS, "checkpoints_gone_at", "launch"), "PENDING", None)
    assert queued(queue_url) == [attempt.job_id]
    details = call("job-details", "--json", attempt.job_id).json
    assert [row["reason"] for row in details["attempts"]] == ["there is no table 'x'"]
    assert [row["to"] for row in details["transitions"]][-3:] == ["RUNNING", "FAILED", "PENDING"]


def test_a_cancelled_job_is_queued_again(jobs: JobTable, queue_url: str, call: Caller) -> None:
    """`retry` after `cancel` lets the next worker claim it."""
    job_id = waiting(jobs, queue_url)
    call("cancel", job_id)
    assert call("retry", job_id) == (0, f"job {job_id} is PENDING, and in the queue\n", "")
    assert queued(queue_url) == [job_id]
    assert isinstance(jobs.claim(job_id, "w-2", 300, {}), Attempt)


def test_what_cannot_be_steered_is_one_line(jobs: JobTable, queue_url: str, call: Caller) -> None:
    """A succeeded job can be neither cancelled nor retried, a running one not retried; the reason is one line."""
    attempt = claimed(jobs, queue_url)
    done = call("retry", attempt.job_id)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "cancel it first" in done.err
    jobs.succeed(attempt, 0.9, "s3://bucket/run")
    for command in ("cancel", "retry"):
        done = call(command, attempt.job_id)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert "SUCCEEDED" in done.err


def test_a_job_that_succeeded_shows_its_score_and_artifacts(jobs: JobTable, queue_url: str, call: Caller) -> None:
    """What a worker wrote at the end is what the commands show: score, artifacts, attempt, states in their order."""
    attempt = claimed(jobs, queue_url)
    jobs.succeed(attempt, 0.912, "s3://bucket/run")
    said = call("job-details", "--json", "a-job").json
    assert (said["f1"], said["artifacts"]) == (0.912, "s3://bucket/run")
    assert said["attempts"][0]["outcome"] == "SUCCEEDED"
    assert said["attempts"][0]["usd"] is not None
    assert said["spec"] == {"model": "tiny"}
    assert [row["to"] for row in said["transitions"]] == ["PENDING", "CLAIMED", "RUNNING", "SUCCEEDED"]
    out = call("job-details", "a-job").out
    assert all(words in out for words in ("SUCCEEDED", "F1 0.912", "s3://bucket/run", "CLAIMED -> RUNNING"))


def test_a_job_at_its_limit_needs_a_higher_one(jobs: JobTable, queue_url: str, call: Caller) -> None:
    """`retry` refuses with the limit and the command that raises it; with that it is queued; commands show both."""
    job_id = str(uuid4())
    spec = {"model": "tiny", "max_hours": 1e-9, "max_usd": 5.0}
    jobs.create(Job(job_id, "bounded", "PENDING", queue_url=queue_url, pool="gpu", model="tiny", spec=spec))
    attempt = jobs.claim(job_id, "w-1", 300, {"price_usd_per_h": 0.3})
    assert isinstance(attempt, Attempt)
    assert jobs.stop_at_limit(attempt, "reached max_hours 1e-09", 7) == "FAILED"
    refused = call("retry", "bounded")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "has reached its max_hours 1e-09 (0.00 h of instance time); give it more: " in refused.err
    assert f"receipt-trainer retry {job_id} --max-hours 2e-09" in refused.err
    assert queued(queue_url) == []
    assert call("retry", "bounded", "--max-hours", "2", "--json").json["status"] == "PENDING"
    assert queued(queue_url) == [job_id]
    assert "max_hours 2, max_usd 5" in call("job-status", "bounded").out
    (row,) = call("jobs", "--name", "bounded", "--json").json
    assert (row["max_hours"], row["max_usd"], row["num_failures"]) == (2.0, 5.0, 0)
    assert " of 2 h, $5" in call("jobs", "--name", "bounded").out
    details = call("job-details", "bounded", "--json").json
    assert (details["max_hours"], details["attempts"][0]["checkpoint_step"]) == (2.0, 7)


def test_a_lease_that_no_clock_explains_is_broken_by_cancel(jobs: JobTable, queue_url: str, call: Caller) -> None:
    """Of a worker whose clock was hours ahead: `retry` says how, `cancel` ends the job at once, and fences it out."""
    attempt = jobs.claim(waiting(jobs, queue_url), "w-1", 8 * 3600, {"price_usd_per_h": 1.0})
    assert isinstance(attempt, Attempt)
    refused = call("retry", attempt.job_id)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "cancel it first: its lease lies further ahead than any clock allows, so it ends at once" in refused.err
    assert call("cancel", attempt.job_id).out == f"job {attempt.job_id} is CANCELLED\n"
    with pytest.raises(LeaseLost):
        jobs.renew(attempt, 300)
    (row,) = call("job-details", "--json", attempt.job_id).json["attempts"]
    assert row["outcome"] == "LOST"
    assert row["usd"] < 0.1


def test_retry_says_that_checkpoints_are_gone(jobs: JobTable, queue_url: str, call: Caller) -> None:
    """What a worker deleted is said with its date; the next claim begins a new count."""
    attempt = claimed(jobs, queue_url)
    jobs.fail(attempt, "a mistake", final=True)
    assert jobs.forget_checkpoints(jobs.get(attempt.job_id))
    gone = jobs.get(attempt.job_id).checkpoints_gone_at
    assert gone is not None
    said = call("retry", attempt.job_id).out
    assert said.splitlines()[1] == f"its checkpoints are gone since {gone[:10]}: it starts at step 0"
    assert call("retry", "--json", attempt.job_id).json["checkpoints_gone_at"] == gone
