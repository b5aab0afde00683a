"""Complete runs that cannot be delivered: real training processes, and an AWS CLI that fails until it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract import metrics, tables
from receipt_trainer.contract.names import ENV_AWS_CLI
from receipt_trainer.jobs import model, state_machine
from receipt_trainer.jobs.queue import Message
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.submit import retry_job
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.worker.cloudwatch_metrics import Outcomes
from receipt_trainer.worker.finalize import Claimed, Conclusion, Effort, Ending
from receipt_trainer.worker.registry import InstanceRegistry, WorkerMachine
from tests.worker.bench import Bench
from tests.worker.test_cloudwatch_metrics import total

AWAY = "upload failed: Could not connect to the endpoint URL"
GONE = "fatal error: An error occurred (NoSuchBucket) when calling the PutObject operation"
EPOCH = list(range(1, 10))
"""Steps of the one epoch that these jobs are trained for."""


class S3:
    """The AWS CLI: it fails with these words while `words` is set, and keeps the names of the files that it took."""

    def __init__(self, folder: Path) -> None:
        self.cli, self._words, self._taken = folder / "aws", folder / "words", folder / "taken"
        self.cli.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && exit 0\n[ -e {self._words} ] && {{ cat {self._words} >&2; exit 1; }}\n'
            f'echo "$2" "$4" >> {self._taken}\n'
        )
        self.cli.chmod(0o755)

    def fail(self, words: str | None) -> None:
        """Fail from now on; None: work again."""
        self._words.unlink(missing_ok=True)
        if words is not None:
            self._words.write_text(words)

    @property
    def taken(self) -> list[str]:
        """What each call that worked was to copy: `sync FOLDER`, then `cp FOLDER/run.json`."""
        return self._taken.read_text().splitlines() if self._taken.exists() else []


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3:
    monkeypatch.setenv("TEST_UPLOAD_WAIT_S", "0")
    folder = tmp_path / "cli"
    folder.mkdir()
    made = S3(folder)
    monkeypatch.setenv(ENV_AWS_CLI, str(made.cli))
    return made


@pytest.fixture
def instances_table(aws: LocalCloud) -> Iterator[str]:
    name = f"instances-{uuid4().hex[:12]}"
    client = clients.dynamodb()
    client.create_table(**tables.INSTANCES.create_arguments(name))
    yield name
    client.delete_table(TableName=name)


def deliver(bench: Bench, aws: LocalCloud, *, pause_s: int = 0, **more: Any) -> str:
    """A worker that may have one job; why it ended."""
    return bench.worker(artifacts_bucket=aws.bucket, max_jobs=1, retry_delay_s=pause_s, poll_s=0, **more).run()


def delivered(bench: Bench, s3: S3, job_id: str, tries: int) -> None:
    """The job has succeeded, was trained once, was never FAILED, and its record was copied last."""
    assert bench.table.get(job_id).status == "SUCCEEDED"
    attempts = bench.attempts(job_id)
    assert [row["outcome"] for row in attempts] == ["INTERRUPTED"] * tries + ["SUCCEEDED"]
    assert [row["start_step"] for row in attempts] == [0] + [9] * tries
    assert bench.steps(job_id) == EPOCH
    assert not any("FAILED" in (row["to"], row.get("from")) for row in bench.rows(job_id, "STATUS#"))
    assert [line.split()[0] for line in s3.taken] == ["sync", "cp"]
    assert s3.taken[-1].endswith("/run.json")


def test_an_outage_of_s3_fails_no_job(bench: Bench, aws: LocalCloud, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """More tries than failures and lost workers are allowed: the job waits, says for what, and is delivered later."""
    monkeypatch.setattr(state_machine, "MAX_LOST", 2)
    job_id = bench.submit(max_failures=1, num_epochs=1)
    s3.fail(AWAY)
    for _ in range(3):
        assert deliver(bench, aws) == "1 jobs done"
    job = bench.table.get(job_id)
    assert (job.status, job.is_waiting, job.num_failures, job.num_lost) == ("INTERRUPTED", True, 0, 0)
    assert (job.num_undelivered, job.held_reason) == (3, None)
    assert AWAY in (job.waits_for or "")
    assert bench.num_messages() == 1
    s3.fail(None)
    deliver(bench, aws)
    delivered(bench, s3, job_id, tries=3)
    job = bench.table.get(job_id)
    assert (job.undelivered_since, job.num_undelivered, job.next_try_at, job.waits_for) == (None, 0, None, None)


@pytest.mark.parametrize("fault", ["the bucket is missing", "S3 is away"])
def test_a_bucket_that_cannot_be_looked_at_hinders_no_training(
    bench: Bench, aws: LocalCloud, s3: S3, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """A job that begins then is trained all the same, keeps its run, and is delivered once the bucket is there."""
    job_id = bench.submit(max_failures=1, num_epochs=1)
    s3.fail(GONE if fault == "the bucket is missing" else AWAY)
    with monkeypatch.context() as away:
        bucket = aws.bucket
        if fault == "the bucket is missing":
            bucket = f"missing-{uuid4().hex[:8]}"
        else:
            away.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        bench.worker(artifacts_bucket=bucket, max_jobs=1, retry_delay_s=0, poll_s=0).run()
    job = bench.table.get(job_id)
    assert (job.status, job.num_failures, job.num_undelivered, bench.steps(job_id)) == ("INTERRUPTED", 0, 1, EPOCH)
    assert any("results could not be stored in S3" in str(row["message"]) for row in bench.rows(job_id, "LOG#"))
    s3.fail(None)
    deliver(bench, aws)
    delivered(bench, s3, job_id, tries=1)


def test_nobody_tries_in_a_pause_unless_somebody_asks(bench: Bench, aws: LocalCloud, s3: S3) -> None:
    """The message is hidden; one that comes all the same is hidden, too, without a claim; `retry` delivers at once."""
    job_id = bench.submit(num_epochs=1)
    s3.fail(AWAY)
    deliver(bench, aws, pause_s=3600)
    job = bench.table.get(job_id)
    assert job.next_try_at is not None
    assert timedelta(minutes=59) < job.next_try_at - utc_now() <= timedelta(hours=1)
    assert deliver(bench, aws) == "idle for 0 s"
    bench.queue.send(job_id, "early", group="early")
    assert deliver(bench, aws) == "idle for 0 s"
    assert (len(bench.attempts(job_id)), bench.num_messages(), bench.queue.receive(0)) == (1, 2, None)
    s3.fail(None)
    retry_job(job_id, jobs_table=bench.settings.jobs_table)
    deliver(bench, aws)
    delivered(bench, s3, job_id, tries=1)


def test_a_job_is_held_after_fourteen_days_until_somebody_asks(bench: Bench, aws: LocalCloud, s3: S3) -> None:
    """It has no message then, and a worker counts it; a message that was left is deleted; `retry` only delivers."""
    past = JobTable(bench.dynamodb, bench.settings.jobs_table, clock=lambda: utc_now() - timedelta(days=14))
    present, bench.table = bench.table, past
    job_id = bench.submit(num_epochs=1)
    s3.fail(AWAY)
    deliver(bench, aws)
    assert bench.num_messages() == 1
    bench.table = present
    environment = f"held-{uuid4().hex[:8]}"
    deliver(bench, aws, outcomes=Outcomes(clients.cloudwatch(), environment, "gpu"))
    job = bench.table.get(job_id)
    assert (job.status, job.is_held, job.is_waiting, job.next_try_at) == ("INTERRUPTED", True, False, None)
    assert "for 14 days; the last try: the run is complete, but not delivered: error: aws s3" in str(job.held_reason)
    assert (total(metrics.JOBS_HELD, environment), total(metrics.INTERRUPTIONS, environment)) == (1, 0)
    assert bench.num_messages() == 0
    bench.queue.send(job_id, "left")
    assert deliver(bench, aws) == "idle for 0 s"
    assert (bench.num_messages(), len(bench.attempts(job_id))) == (0, 2)
    s3.fail(None)
    assert retry_job(job_id, jobs_table=bench.settings.jobs_table).is_waiting
    deliver(bench, aws)
    delivered(bench, s3, job_id, tries=2)


def test_a_worker_whose_upload_is_refused_goes_and_says_why(
    bench: Bench, aws: LocalCloud, s3: S3, instances_table: str
) -> None:
    """The bucket is gone: the next job is left to others, the instance's row has the reason, the run is kept."""
    job_id, behind = bench.submit(max_failures=1, num_epochs=1), bench.submit(num_epochs=1)
    s3.fail(GONE)
    machine = WorkerMachine("refused", "gpu")
    registry = InstanceRegistry(bench.dynamodb, instances_table, machine)
    reason = bench.worker(artifacts_bucket=aws.bucket, machine=machine, registry=registry).run()
    assert reason.startswith("this machine cannot deliver what it trains: ")
    assert "NoSuchBucket" in reason
    keys = [{"PK": tables.instance_pk("refused"), "SK": tables.INSTANCE_SK}]
    (row,) = dynamo.batch_get(bench.dynamodb, instances_table, "read the row", keys, ["status", "reason"])
    assert (row["status"], row["reason"]) == ("ENDED", reason)
    assert (bench.table.get(job_id).status, bench.table.get(behind).attempt) == ("INTERRUPTED", 0)
    bench.table.cancel(behind)
    s3.fail(None)
    deliver(bench, aws)
    delivered(bench, s3, job_id, tries=1)


def test_a_pause_ends_before_sqs_forgets_the_message(bench: Bench) -> None:
    """SQS hides a message for twelve hours at most, of which the attempt has taken eleven: the rest is no pause."""
    job_id = bench.submit()
    message = bench.queue.receive(0)
    assert isinstance(message, Message)
    attempt = bench.table.claim(job_id, "worker", 60, {})
    assert isinstance(attempt, model.Attempt)
    settings = replace(bench.settings, retry_delay_s=3600)
    claimed = Claimed(bench.table.get(job_id), attempt, bench.queue, message)
    conclusion = Conclusion(settings, bench.table, claimed, bench.run_dir(job_id))
    left = conclusion.write(Ending("upload_failed", AWAY), Effort(0, settings.max_receive_s - 0.5, None))
    assert left is not None
    assert left.pause_s == 3600
    early = bench.queue.receive(0)
    assert early is not None
    assert early.job_id == job_id
