from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.contract.names import ENV_ARTIFACTS_BUCKET, ENV_AWS_CLI, ENV_INSTANCES_TABLE
from receipt_trainer.contract.tables import JOBS
from receipt_trainer.errors import WorldError
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.imds import ImdsStandIn
from receipt_trainer.worker.settings import require_folder, require_jobs_table
from tests.cli.jobs import Caller
from tests.fault_proxy import FaultProxy
from tests.queues import new_queue
from tests.waiting import TIMEOUT_S, wait_for
from tests.worker.bench import Bench
from tests.worker.conftest import receipts_file

__all__ = ["receipts_file"]

PROGRAM = (
    "from receipt_trainer.cli.lazy import run; from receipt_trainer.cli.commands.worker import command; run(command)"
)


@pytest.fixture
def bench(jobs_table: str, receipts_file: Path, tmp_path: Path) -> Bench:
    """A queue and a table; the training processes are the real ones."""
    return Bench(new_queue(), jobs_table, receipts_file, tmp_path, ())


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    ours = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", ENV_ARTIFACTS_BUCKET: "", ENV_INSTANCES_TABLE: ""}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        env=os.environ | ours | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_real_worker_saves_its_job_on_sigterm(bench: Bench, tmp_path: Path) -> None:
    """Command, training program and signal are the real ones: a checkpoint, INTERRUPTED, the message back, exit 0."""
    job_id = bench.submit(num_epochs=1000, save_total_limit=1)
    worker = start(
        *("--queue-url", bench.queue_url, "--jobs-table", bench.settings.jobs_table),
        *("--checkpoints-dir", tmp_path / "checkpoints"),
    )
    try:
        wait_for(lambda: worker.poll() is not None or bench.steps(job_id))
        worker.send_signal(signal.SIGTERM)
        output, _ = worker.communicate(timeout=TIMEOUT_S)
    finally:
        worker.kill()
    assert worker.returncode == 0, output
    assert "the worker ended: SIGTERM" in output
    job = bench.table.get(job_id)
    assert job.status == "INTERRUPTED", output
    (attempt,) = bench.attempts(job_id)
    assert attempt["checkpoint_step"] >= max(bench.steps(job_id)) > 0
    assert bench.queue.receive(1) is not None  # visible again


def test_an_idle_worker_registers_leaves_and_says_why(bench: Bench, tmp_path: Path, aws: LocalCloud) -> None:
    """With nothing to do it goes; its row in the instances table says what it was, and that it has ended."""
    instances = aws.table_names["instances"]
    with ImdsStandIn("i-0abc") as service:
        worker = start(
            *("--queue-url", bench.queue_url, "--jobs-table", bench.settings.jobs_table),
            *("--checkpoints-dir", tmp_path, "--idle-timeout", 0),
            AWS_EC2_METADATA_SERVICE_ENDPOINT=service.url,
            **{ENV_INSTANCES_TABLE: instances},
        )
        output, _ = worker.communicate(timeout=TIMEOUT_S)
    assert worker.returncode == 0, output
    key = {"PK": {"S": "INSTANCE#i-0abc"}, "SK": {"S": "INSTANCE"}}
    row = aws.client("dynamodb").get_item(TableName=instances, Key=key)["Item"]
    assert row["status"]["S"] == "ENDED"
    assert row["instance_type"]["S"] == "g5.xlarge"
    assert row["market"]["S"] == "spot"
    assert "idle" in row["reason"]["S"]
    assert int(row["expires_at"]["N"]) > 0


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--jobs-table", "nope", "there is no table 'nope'"),
        ("--jobs-table", "a b", "a b"),
        ("--jobs-table", "RECEIPTS", "not a table of jobs"),
        ("--jobs-table", "INSTANCES", "not a table of jobs"),
        ("--checkpoints-dir", "/etc/hostname", "--checkpoints-dir /etc/hostname: is not a folder"),
        ("--checkpoints-dir", "/etc/hostname/runs", "--checkpoints-dir /etc/hostname/runs: is not a folder"),
        ("--checkpoints-dir", "/proc/self/runs", "--checkpoints-dir /proc/self/runs: No such file or directory"),
        ("--artifacts-bucket", "NOT EXECUTABLE", "there is no AWS CLI at"),
        ("--queue-url", None, "--queue-url is needed"),
        ("--jobs-table", None, "--jobs-table is needed"),
        ("--mount-efs", None, "root file system"),
    ],
)
def test_what_every_job_would_fail_for_is_said_before_one_comes(
    option: str,
    value: str | None,
    words: str,
    bench: Bench,
    aws: LocalCloud,
    call: Caller,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    """One line and exit code 2 of a worker with an idle queue, which would wait for a job else."""
    cli = tmp_path / "aws"
    cli.write_text("#!/bin/sh\n")  # without the right to execute it
    monkeypatch.setenv(ENV_AWS_CLI, str(cli))
    for name in (ENV_INSTANCES_TABLE, ENV_ARTIFACTS_BUCKET):
        monkeypatch.setenv(name, "")
    given = {"--queue-url": bench.queue_url, "--jobs-table": bench.settings.jobs_table}
    given |= {"--checkpoints-dir": str(tmp_path / "runs"), "--idle-timeout": "0"}
    own = {"RECEIPTS": aws.table_names["receipts"], "INSTANCES": aws.table_names["instances"]}
    if value is not None:
        given[option] = own.get(value, value)
    elif option == "--mount-efs":
        given["--checkpoints-dir"] = "/"
    else:
        del given[option]
        monkeypatch.delenv("JOBS_TABLE_NAME", raising=False)
    words_given = [word for pair in given.items() for word in pair]
    said = call("start-worker", *words_given, *([option] if option == "--mount-efs" else []))
    assert (said.code, said.out) == (2, "")
    assert words in said.err
    assert len(said.err.splitlines()) == 1


def test_a_table_of_the_first_version_is_one_of_jobs(aws: LocalCloud) -> None:
    """It has two indexes fewer, and a worker works with it."""
    name, client = f"jobs-{uuid4().hex[:8]}", clients.dynamodb()
    client.create_table(**replace(JOBS, indexes=JOBS.indexes[:2]).create_arguments(name))
    require_jobs_table(client, name)
    client.delete_table(TableName=name)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOSPC])
def test_a_file_system_that_fails_is_no_mistake(number: int, tmp_path: Path, monkeypatch: Any) -> None:
    """The worker ends with exit code 1, and may be started again."""

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("receipt_trainer.worker.settings.os.fsync", fail)
    with pytest.raises(WorldError, match=os.strerror(number)):
        require_folder(tmp_path)


def test_a_worker_that_is_refused_its_queue_says_so_in_one_line(bench: Bench, fault_proxy: FaultProxy) -> None:
    """AccessDenied at the first look: exit code 2, no traceback, and the job waits for others."""
    denied = {"__type": "com.amazonaws.sqs#AccessDeniedException", "message": "not authorized: sqs:receivemessage"}
    fault_proxy.rule = lambda name, count, body: (403, denied) if name == "ReceiveMessage" else None
    job_id = bench.submit()
    worker = start("--queue-url", bench.queue_url, "--jobs-table", bench.settings.jobs_table, "--idle-timeout", 0)
    output, _ = worker.communicate(timeout=TIMEOUT_S)
    assert worker.returncode == 2, output
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("error: receive a message: AWS refuses these credentials: AccessDenied")
    assert bench.table.get(job_id).status == "PENDING"
