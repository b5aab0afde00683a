"""`receipt-trainer submit-job`, as a user gives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.local.emulator import LocalCloud
from tests.cli.jobs import Caller
from tests.cli.test_stack import stand
from tests.queues import new_queue
from tests.waiting import TIMEOUT_S

JOB = """
job_name: my-job
model: tiny
training_config:
  learning_rate: 6e-5
data_config:
  max_samples: 5
"""


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    """A job file."""
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return path


@pytest.fixture
def urls(aws: LocalCloud) -> dict[str, dict[str, str]]:
    """Pool -> priority -> URL of a queue that is there."""
    unique = uuid4().hex[:8]
    return {
        pool: {priority: new_queue(f"{unique}-{pool}-{priority}") for priority in ("high", "normal")}
        for pool in ("gpu", "cpu")
    }


@pytest.fixture
def outputs(urls: dict[str, dict[str, str]], jobs_table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The saved outputs of a stack with both pools and default hyperparameters; its names leave no trace."""
    return stand(tmp_path, monkeypatch, jobs_table, urls, {"num_epochs": 3, "learning_rate": 0.1})


def job_in(url: str) -> str | None:
    """The job of the queue's next message."""
    message = SqsQueue(clients.sqs(), url).receive(0)
    return message.job_id if message else None


def stored(table: str) -> int:
    """Rows in the jobs table."""
    return clients.dynamodb().scan(TableName=table)["Count"]


def test_the_stack_says_where_to(
    call: Caller, job_file: Path, outputs: Path, urls: dict[str, dict[str, str]], jobs_table: str
) -> None:
    """Queue, table and default hyperparameters come from the outputs; the id alone is printed on standard output."""
    said = call("submit-job", "--config", str(job_file), "--outputs", str(outputs), "--priority", "high")
    assert said.code == 0, said.err
    job_id = said.out.strip()
    assert job_in(urls["gpu"]["high"]) == job_id
    job = JobTable(clients.dynamodb(), jobs_table).get(job_id)
    assert (job.name, job.pool, job.priority, job.queue_url) == ("my-job", "gpu", "high", urls["gpu"]["high"])
    training = job.spec["training_config"]
    assert (training["learning_rate"], training["num_epochs"]) == (6e-5, 3)


def test_the_pool_follows_from_the_job(
    call: Caller, job_file: Path, outputs: Path, urls: dict[str, dict[str, str]]
) -> None:
    """A job that needs no GPU goes to the cpu pool's queue, unless a pool is named."""
    job_file.write_text(f"{JOB}resources:\n  gpu: false\n")
    first = call("submit-job", "--config", str(job_file), "--outputs", str(outputs)).out.strip()
    assert job_in(urls["cpu"]["normal"]) == first
    second = call("submit-job", "--config", str(job_file), "--outputs", str(outputs), "--pool", "gpu").out.strip()
    assert job_in(urls["gpu"]["normal"]) == second


def test_a_queue_by_its_url(call: Caller, job_file: Path, urls: dict[str, dict[str, str]], jobs_table: str) -> None:
    """Without a stack the queue's URL and the table's name are enough."""
    url = urls["cpu"]["high"]
    said = call("submit-job", "--config", str(job_file), "--queue-url", url, "--jobs-table", jobs_table, "--json")
    assert said.json["status"] == "PENDING"
    assert job_in(url) == said.json["job_id"]


def test_a_client_token(call: Caller, job_file: Path, outputs: Path, jobs_table: str) -> None:
    """The command may be repeated; a changed file under the same token is refused."""
    words = ("submit-job", "--config", str(job_file), "--outputs", str(outputs), "--client-token", "t")
    assert call(*words).out == call(*words).out
    job_file.write_text(JOB.replace("tiny", "another"))
    refused = call(*words)
    assert refused.code == 2
    assert "another job needs another token" in refused.err


def test_a_dry_run_stores_nothing(
    call: Caller, job_file: Path, outputs: Path, urls: dict[str, dict[str, str]], jobs_table: str
) -> None:
    """It prints the whole job as a job file that could be submitted as it is."""
    said = call("submit-job", "--config", str(job_file), "--outputs", str(outputs), "--dry-run")
    assert said.code == 0, said.err
    assert stored(jobs_table) == 0
    assert job_in(urls["gpu"]["normal"]) is None
    job_file.write_text(said.out)
    again = call("submit-job", "--config", str(job_file), "--outputs", str(outputs), "--dry-run")
    assert again.out == said.out


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (("  max_samples: 5", "  max_sample: 5"), "job.yaml:7: unknown key 'max_sample'"),
        (("job_name: my-job", "job_name: ../my-job"), "job.yaml:2: job_name: "),
        (("model: tiny", "priority: urgent"), "job.yaml:3: priority: input should be 'high' or 'normal'"),
        (("model: tiny", "resources: {gpux: 1}"), "unknown key 'resources.gpux' (known: gpu, pool)"),
        (("model: tiny", "resources: {gpu: true, pool: cpu}"), "job.yaml:3: resources: gpu: true contradicts pool"),
        (("model: tiny", "max_failures: 0"), "job.yaml:3: max_failures: "),
    ],
)
def test_a_wrong_file(
    call: Caller, job_file: Path, outputs: Path, jobs_table: str, edit: tuple[str, str], says: str
) -> None:
    """It is refused with its line, the key and what is allowed, in one line; nothing is stored."""
    job_file.write_text(JOB.replace(*edit))
    said = call("submit-job", "--config", str(job_file), "--outputs", str(outputs))
    assert said.code == 2
    assert says in said.err
    assert said.err.count("\n") == 1
    assert stored(jobs_table) == 0


def test_without_a_queue(call: Caller, job_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user is told how to name one."""
    monkeypatch.delenv("JOB_QUEUE_URL_NORMAL", raising=False)
    said = call("submit-job", "--config", str(job_file))
    assert said.code == 2
    assert "--queue-url" in said.err


def test_the_documented_module(job_file: Path, urls: dict[str, dict[str, str]], jobs_table: str) -> None:
    """`python -m receipt_trainer.jobs.submit` is the same command."""
    command = [sys.executable, "-m", "receipt_trainer.jobs.submit", "--config", str(job_file)]
    command += ["--queue-url", urls["gpu"]["normal"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert job_in(urls["gpu"]["normal"]) == done.stdout.strip()


def test_submissions_of_one_name_at_once(
    call: Caller, job_file: Path, outputs: Path, urls: dict[str, dict[str, str]]
) -> None:
    """Two processes with one token: one job with one message. Without a token it is another job of that name; whoever
    asks by the name is told the ids, in one line."""
    words = ("submit-job", "--config", str(job_file), "--outputs", str(outputs), "--json")
    command = [sys.executable, "-m", "receipt_trainer", *words, "--client-token", "t"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=TIMEOUT_S)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    ids = [*(json.loads(text)["job_id"] for text in said), call(*words).json["job_id"]]
    assert ids[0] == ids[1] != ids[2]
    queue = SqsQueue(clients.sqs(), urls["gpu"]["normal"])
    received = [message.job_id for message in iter(lambda: queue.receive(0), None)]
    assert sorted(map(str, received)) == sorted(set(ids))
    asked = call("job-status", "my-job", "--outputs", str(outputs))
    assert (asked.code, len(asked.err.splitlines())) == (2, 1)
    assert all(job_id in asked.err for job_id in ids)
