from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.contract.names import ENV_AWS_CLI
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs import metrics_writer
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.training import checkpoints
from receipt_trainer.training.failures import MachineError, is_machine_fault
from receipt_trainer.worker.loop import Worker
from receipt_trainer.worker.registry import WorkerMachine
from tests.fault_proxy import THROTTLED, Answer, FaultProxy
from tests.strikes import expect, forget
from tests.worker.bench import STEPS, Bench


def test_a_full_disk_fails_the_attempt_and_spares_the_checkpoints_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is named at fault and takes no third attempt; where there is room the job goes on and succeeds."""
    expect(monkeypatch, "full", 19)  # behind the first epoch's checkpoint; before the second one's
    job_id = bench.submit(num_epochs=3)
    reason = bench.worker("full").run()
    assert "2 attempts in a row" in reason
    attempts = bench.attempts(job_id)
    assert [row["outcome"] for row in attempts] == ["FAILED"] * 2
    assert all(row["reason"].startswith("the machine failed: ") for row in attempts)
    assert all("disk full; free " in row["reason"] for row in attempts)
    assert [row["start_step"] for row in attempts] == [0, 9]
    found = checkpoints.latest(bench.run_dir(job_id))
    assert found is not None
    assert found.step == 18  # of the second attempt's room
    forget(monkeypatch, "full")
    bench.worker("roomy").run()
    job = bench.table.get(job_id)
    assert (job.status, job.attempt) == ("SUCCEEDED", 3)
    assert sorted(set(bench.steps(job_id))) == list(range(1, 28))


def test_an_upload_that_fails_is_made_again_and_nothing_is_trained_again(
    fault_proxy: FaultProxy, bench: Bench, aws: LocalCloud, aws_cli: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 is away at the first attempt: the job is interrupted, not failed; the next one delivers the complete run."""
    monkeypatch.setenv(ENV_AWS_CLI, str(aws_cli))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("TEST_UPLOAD_WAIT_S", "0")
    fault_proxy.rule = lambda name, count, body: (503, {"message": "slow down"}) if name == "PUT" else None
    job_id = bench.submit()
    bench.worker(artifacts_bucket=aws.bucket, max_jobs=1).run()
    prefix = f"runs/test/{job_id}/"
    job = bench.table.get(job_id)
    assert (job.status, job.num_failures) == ("INTERRUPTED", 0)
    assert "aws s3 sync" in bench.attempts(job_id)[0]["reason"]
    assert "Contents" not in clients.s3().list_objects_v2(Bucket=aws.bucket, Prefix=prefix)
    steps = bench.steps(job_id)
    fault_proxy.rule = lambda name, count, body: None
    bench.worker(artifacts_bucket=aws.bucket, max_jobs=1).run()
    job = bench.table.get(job_id)
    assert (job.status, job.attempt, job.artifacts) == ("SUCCEEDED", 2, f"s3://{aws.bucket}/{prefix.rstrip('/')}")
    assert bench.steps(job_id) == steps == STEPS
    record = clients.s3().get_object(Bucket=aws.bucket, Key=f"{prefix}run.json")["Body"].read()
    assert json.loads(record)["status"] == "complete"
    listed = clients.s3().list_objects_v2(Bucket=aws.bucket, Prefix=prefix)["Contents"]
    assert {f"{prefix}report.html", f"{prefix}model/model.safetensors"} <= {row["Key"] for row in listed}
    newest = max(row["LastModified"] for row in listed)
    assert next(row["LastModified"] for row in listed if row["Key"].endswith("run.json")) == newest


def test_a_machine_that_may_not_upload_takes_no_further_job(
    fault_proxy: FaultProxy,
    bench: Bench,
    aws: LocalCloud,
    aws_cli: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broken CLI, then a refused upload: complete and not failed, trained once, and the job behind is left alone."""
    broken = tmp_path / "aws"
    broken.write_text("#!/bin/sh\necho 'ImportError: no module' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("TEST_UPLOAD_WAIT_S", "60")  # neither is worth another try
    job_id, behind = bench.submit(max_failures=1), bench.submit()
    for cli, told in ((broken, "is broken"), (aws_cli, "(403)")):
        monkeypatch.setenv(ENV_AWS_CLI, str(cli))
        fault_proxy.rule = lambda name, count, body: (403, {"message": "no"}) if name == "PUT" else None
        bench.worker(artifacts_bucket=aws.bucket).run()
        job = bench.table.get(job_id)
        assert (job.status, job.num_failures) == ("INTERRUPTED", 0)
        assert told in bench.attempts(job_id)[-1]["reason"]
        assert "this machine cannot deliver it" in bench.attempts(job_id)[-1]["reason"]
        assert bench.table.get(behind).attempt == 0
    assert [row["start_step"] for row in bench.attempts(job_id)] == [0, STEPS[-1]]
    fault_proxy.rule = lambda name, count, body: None
    bench.worker(artifacts_bucket=aws.bucket, max_jobs=1).run()
    assert "SUCCEEDED" in (bench.table.get(job_id).status, bench.table.get(behind).status)


def test_a_complete_run_whose_last_rows_cannot_be_written_is_delivered_later(
    fault_proxy: FaultProxy, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two attempts in an outage, of a job that may not fail once; then the job succeeds with whole curves."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(metrics_writer, "CLOSE_ATTEMPTS", 1)  # of the worker's own log, which is out as well
    job_id = bench.submit(max_failures=1)
    is_out = True

    def refuse(name: str, count: int, body: dict[str, Any]) -> Answer | None:
        return THROTTLED if is_out and name == "BatchWriteItem" else None

    fault_proxy.rule = refuse
    for _ in range(2):
        bench.worker(max_jobs=1).run()
    job = bench.table.get(job_id)
    assert (job.status, job.num_failures, job.num_lost, job.num_undelivered) == ("INTERRUPTED", 0, 0, 2)
    assert all("the run is complete" in row["reason"] for row in bench.attempts(job_id))
    assert bench.steps(job_id) == []
    is_out = False
    bench.worker(max_jobs=1).run()
    assert bench.table.get(job_id).status == "SUCCEEDED"
    assert bench.steps(job_id) == STEPS
    assert [row["start_step"] for row in bench.attempts(job_id)] == [0, STEPS[-1], STEPS[-1]]


def test_what_a_machine_is_blamed_for() -> None:
    """A disk, a driver, a device: also where they are the cause of another error; a program's and a user's are not."""
    caused = WorldError("the checkpoint cannot be written")
    caused.__cause__ = OSError(28, "No space left on device")
    for blamed in (
        caused,
        MachineError("no GPU"),
        OSError(5, "Input/output error"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/3"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ):
        assert is_machine_fault(blamed), blamed
    for spared in (
        FileNotFoundError(2, "No such file or directory"),
        RuntimeError("CUDA error: device-side assert triggered"),
        UserError("data_config: CUDA error is no label"),
        WorldError("S3 cannot be reached"),
        ValueError("no"),
    ):
        assert not is_machine_fault(spared), spared


@pytest.mark.parametrize("at", [0, 1])
def test_a_worker_with_a_queue_that_is_missing_fails_at_once(bench: Bench, at: int) -> None:
    """Whichever of its queues it is: a boot says so then, and no instance waits beside a queue that nobody reads."""
    queues = [SqsQueue(clients.sqs(), bench.queue_url)]
    queues.insert(at, SqsQueue(clients.sqs(), f"{bench.queue_url.rpartition('/')[0]}/missing.fifo"))
    settings = replace(bench.settings, idle_timeout_s=600.0, poll_s=0)
    with pytest.raises(UserError, match=r"there is no queue .*missing\.fifo"):
        Worker(settings, bench.table, queues, WorkerMachine("worker", "cpu"), sleep=lambda seconds: None).run()
