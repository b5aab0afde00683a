"""What a worker deletes: checkpoints of ended jobs, what a killed worker left, what a deleted row leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from receipt_trainer.aws import dynamo
from receipt_trainer.contract.names import ENV_AWS_CLI
from receipt_trainer.contract.tables import JOB_SK, checkpoint_sk, iso, job_pk
from receipt_trainer.jobs.model import Attempt, Job
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.training import checkpoints
from receipt_trainer.worker.child import Scratch, clean
from receipt_trainer.worker.loop import StaleLeases
from receipt_trainer.worker.retention import INTERVAL_S, Retention
from tests.waiting import TIMEOUT_S, wait_for
from tests.worker.bench import Bench, Running

DAYS = 14
NEVER = lambda: False  # noqa: E731


def delete_row(bench: Bench, job_id: str) -> None:
    key = dynamo.serialise({"PK": job_pk(job_id), "SK": JOB_SK})
    bench.dynamodb.delete_item(TableName=bench.settings.jobs_table, Key=key)


def ended(bench: Bench, status: str, age_days: float, **values: Any) -> str:
    """A job that ended so, so long ago, with two checkpoints in its folder, one half written, and their rows."""
    job_id = str(uuid4())
    bench.table.create(Job(job_id, "test", "PENDING", queue_url=bench.queue_url, spec={"model": "tiny"}))
    at = iso(datetime.now(UTC) - timedelta(days=age_days))
    bench.change(job_id, status=status, updated_at=at, attempt=1, **values)
    for step in (9, 18):
        folder = bench.run_dir(job_id) / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x" * 100)
        row = {"PK": job_pk(job_id), "SK": checkpoint_sk(step), "job_id": job_id, "step": step}
        dynamo.put(bench.dynamodb, bench.settings.jobs_table, row, "write a row")
    checkpoints.seal(bench.run_dir(job_id) / "checkpoint-9", {"model": "tiny"})
    (bench.run_dir(job_id) / "run.json").write_text("{}")
    return job_id


def kept(bench: Bench, job_id: str) -> tuple[int, int]:
    """Checkpoint folders and rows."""
    return len(checkpoints.folders(bench.run_dir(job_id))), len(bench.rows(job_id, "CHECKPOINT#"))


def retention(bench: Bench, clock: Callable[[], float] = lambda: 0.0) -> Retention:
    return Retention(bench.settings.checkpoints_dir, bench.table, DAYS, clock=clock)


def test_what_goes_and_what_stays(bench: Bench) -> None:
    """By state and age: ended jobs' checkpoints go in their time, folders and rows; nothing else of a folder does."""
    goes = [
        ended(bench, "SUCCEEDED", 0, artifacts="s3://bucket/runs/x"),
        ended(bench, "FAILED", 14.01),
        ended(bench, "CANCELLED", 15),
    ]
    stays = [
        ended(bench, "SUCCEEDED", 99),  # without a bucket its results are here alone
        ended(bench, "FAILED", 13.9),
        ended(bench, "CANCELLED", 1),
        ended(bench, "PENDING", 99),
        ended(bench, "RUNNING", 99, lease_expires_at=iso(datetime.now(UTC))),
        ended(bench, "INTERRUPTED", 99, held_reason="nobody takes it"),
        ended(bench, "PAUSED", 99),
        ended(bench, "FAILED", 99, version="x"),
    ]
    retention(bench).look(NEVER)
    assert [kept(bench, job_id) for job_id in goes] == [(0, 0)] * 3
    assert [kept(bench, job_id) for job_id in stays] == [(2, 2)] * len(stays)
    assert all((bench.run_dir(job_id) / "run.json").is_file() for job_id in goes)
    assert all(bench.table.get(job_id).checkpoints_gone_at for job_id in goes)
    assert bench.table.get(goes[1]).status == "FAILED"


def test_folders_that_are_nobodys_business(bench: Bench, tmp_path: Path) -> None:
    """A run that holds its lock, links, other names, and jobs that this table never knew are left alone."""
    held, linked, mine, young = (ended(bench, "FAILED", 99) for _ in range(4))
    for job_id in (mine, young):
        delete_row(bench, job_id)
    stranger = bench.run_dir(str(uuid4()))
    elsewhere = tmp_path / "elsewhere"
    for folder in (stranger / "checkpoint-1", elsewhere / "checkpoint-1", bench.run_dir("no-id") / "checkpoint-1"):
        folder.mkdir(parents=True)
    (bench.run_dir(linked) / "checkpoint-30").symlink_to(elsewhere / "checkpoint-1")
    link = bench.run_dir(ended(bench, "FAILED", 99))
    link.rename(tmp_path / "moved")
    link.symlink_to(tmp_path / "moved")
    old = time.time() - 20 * 86_400
    for path in (stranger, stranger / "checkpoint-1", *bench.run_dir(mine).glob("checkpoint-*"), bench.run_dir(mine)):
        os.utime(path, (old, old))
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); "
         "print('held', flush=True); sys.stdin.read()", str(bench.run_dir(held) / ".lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    retention(bench).look(NEVER)
    holder.kill()
    holder.wait()
    assert kept(bench, held) == (2, 2)
    assert bench.table.get(held).checkpoints_gone_at is None
    assert kept(bench, linked) == (1, 0)  # the link alone
    assert kept(bench, mine) == (0, 0)
    assert len(checkpoints.folders(bench.run_dir(young))) == 2
    for folder in (stranger, elsewhere, bench.run_dir("no-id"), tmp_path / "moved"):
        assert list(folder.glob("checkpoint-*")), folder


def test_looks_are_rare_and_end_early(bench: Bench) -> None:
    """One an hour; none goes on once the worker is called away."""
    clock = [0.0]
    looking = retention(bench, lambda: clock[0])
    first = ended(bench, "FAILED", 99)
    looking.look(lambda: True)
    assert kept(bench, first) == (2, 2)
    clock[0] = INTERVAL_S - 1
    looking.look(NEVER)
    assert kept(bench, first) == (2, 2)
    clock[0] = INTERVAL_S
    looking.look(NEVER)
    assert kept(bench, first) == (0, 0)


def test_a_retry_at_the_same_moment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the row is written the retry wins and keeps its checkpoints; after it, it is told that they are gone."""
    early, late = ended(bench, "FAILED", 99), ended(bench, "FAILED", 99)
    forget, delete = bench.table.forget_checkpoints, checkpoints.remove

    def retried_before(job: Job) -> bool:
        if job.job_id == early:
            bench.table.retry(early)
        return forget(job)

    said = []

    def retried_after(path: Path) -> None:
        if not said:
            said.append(bench.table.retry(late).checkpoints_gone_at)
        delete(path)

    monkeypatch.setattr(bench.table, "forget_checkpoints", retried_before)
    monkeypatch.setattr(checkpoints, "remove", retried_after)
    retention(bench).look(NEVER)
    assert kept(bench, early) == (2, 2)
    assert bench.table.get(early).checkpoints_gone_at is None
    assert kept(bench, late) == (0, 0)
    assert said[0] is not None
    attempt = bench.table.claim(late, "w", 60, {})
    assert isinstance(attempt, Attempt)
    assert bench.table.get(late).checkpoints_gone_at is None


def test_a_finished_job_leaves_no_checkpoint(
    bench: Bench, aws: LocalCloud, aws_cli: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real training with a bucket: the worker that finished it deletes folders and rows; without one, all stays."""
    monkeypatch.setenv(ENV_AWS_CLI, str(aws_cli))
    delivered = bench.submit(num_epochs=1)
    bench.worker(artifacts_bucket=aws.bucket, max_jobs=1).run()
    assert bench.table.get(delivered).status == "SUCCEEDED"
    assert kept(bench, delivered) == (0, 0)
    assert (bench.run_dir(delivered) / "model").is_dir()
    here = bench.submit(num_epochs=1)
    bench.worker(max_jobs=1).run()
    assert bench.table.get(here).status == "SUCCEEDED"
    assert kept(bench, here) == (1, 1)
    for row in [*bench.rows(here, "METRIC#"), *bench.rows(here, "LOG#"), *bench.rows(here, "CHECKPOINT#")]:
        assert 364 < (row["expires_at"] - time.time()) / 86_400 <= 365


def test_a_row_that_is_deleted_while_its_job_trains(bench: Bench, hold: Path) -> None:
    """The worker ends the training process, deletes the message at once, and the rows that would stay for ever."""
    job_id = bench.submit(save_steps=1)
    running = Running(bench.worker(max_jobs=1))
    wait_for(lambda: hold.exists() and bench.rows(job_id, "CHECKPOINT#"))
    delete_row(bench, job_id)
    running.end()
    assert (bench.num_messages(), bench.rows(job_id, "CHECKPOINT#")) == (0, [])
    assert all(row.get("expires_at") for row in bench.rows(job_id) if row["SK"].startswith(("METRIC#", "LOG#")))


def test_the_message_of_a_job_whose_row_is_gone(bench: Bench) -> None:
    """Where other rows say that the job was this table's it goes; one that nobody knows is left to the queue."""
    known = bench.submit()
    delete_row(bench, known)
    bench.worker().run()
    assert bench.num_messages() == 0
    bench.queue.send(str(uuid4()))
    bench.worker().run()
    assert bench.num_messages() == 1


def test_a_lease_far_ahead_is_broken(bench: Bench) -> None:
    """By a worker that saw it unmoved for as long as a lease lasts; not one that moves, nor one of minutes."""
    far = datetime.now(UTC) + timedelta(hours=8)
    job_id = bench.submit(num_epochs=1)
    dead = bench.table.claim(job_id, "dead", 8 * 3600, {})
    assert isinstance(dead, Attempt)
    bench.change(job_id, lease_expires_at=iso(far))
    clock = [0.0]
    seen = StaleLeases(240, lambda: clock[0], lambda: datetime.now(UTC))
    for lease, seconds, broken in (
        (far, 0, False),
        (far, 239, False),
        (far + timedelta(minutes=1), 241, False),
        (far + timedelta(minutes=1), 480, False),
        (far + timedelta(minutes=1), 482, True),
        (datetime.now(UTC) + timedelta(minutes=4), 900, False),
    ):
        clock[0] = seconds
        seen.saw(job_id, lease)
        assert (seen.broken(job_id) is not None) == broken, seconds
    worker = bench.worker(lease_s=1, visibility_s=2, idle_timeout_s=TIMEOUT_S, max_jobs=1)
    worker.run()
    job = bench.table.get(job_id)
    first, second = bench.attempts(job_id)
    assert (first["outcome"], second["attempt"], job.num_lost) == ("LOST", 2, 1)
    assert datetime.fromisoformat(first["ended_at"]) < datetime.now(UTC)  # nobody pays for eight hours ahead


def test_files_of_a_killed_worker(tmp_path: Path) -> None:
    """The next worker removes what a killed one left, and old files of 0.1.0; not what a living one needs."""
    code = (
        "import sys, time; from pathlib import Path; from receipt_trainer.worker.child import Scratch; "
        "s = Scratch(Path(sys.argv[1])); (s.path / 'a.job.json').touch(); print(s.path, flush=True); time.sleep(600)"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    folders = [Path(str(worker.stdout.readline().strip())) for worker in workers if worker.stdout is not None]
    os.kill(workers[0].pid, signal.SIGKILL)
    workers[0].wait()
    old = [tmp_path / f"receipt-trainer-old{suffix}" for suffix in (".job.json", ".job.progress")]
    new = [tmp_path / f"receipt-trainer-new{suffix}" for suffix in (".job.json", ".job.progress")]
    half = [tmp_path / f"receipt-trainer-half{suffix}" for suffix in (".job.json", ".job.progress")]
    for path in (*old, *new, *half):
        path.touch()
    for path in (*old, half[0]):
        os.utime(path, (0, time.time() - 90_000))
    own = Scratch(tmp_path)
    assert [folder.exists() for folder in folders] == [False, True]
    assert (own.path.stat().st_mode & 0o777, (own.path / ".lock").exists()) == (0o700, True)
    assert [path.exists() for path in (*old, *new, *half)] == [False] * 2 + [True] * 4
    clean(tmp_path)
    assert own.path.is_dir()
    own.close()
    workers[1].kill()
    workers[1].wait()
    clean(tmp_path)
    assert not list(tmp_path.glob("receipt-trainer-worker-*"))
