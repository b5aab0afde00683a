"""`receipt-trainer job-status`, `job-details` and `logs`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli.render import jobs
from receipt_trainer.contract.tables import iso, job_pk
from receipt_trainer.jobs.curves import curves
from receipt_trainer.jobs.metrics_writer import JobStore
from receipt_trainer.jobs.rows import get_job
from receipt_trainer.jobs.views import LogLine, LogTail, follow_log
from tests.cli.jobs import NOON, Caller, add_job

SPEC = json.dumps({"job_name": "a-job", "model": "tiny", "training_config": {"num_epochs": 3, "learning_rate": 5e-5}})


@pytest.fixture
def job(jobs_table: str) -> str:
    """A job whose first attempt was interrupted and whose second one runs, with metrics and a log."""
    running: dict[str, Any] = {
        "status": "RUNNING",
        "attempt": 2,
        "worker_id": "w-2",
        "lease_expires_at": iso(utc_now() + timedelta(minutes=4)),
    }
    job_id = add_job(jobs_table, spec=SPEC, num_failures=1, max_failures=3, reason="spot notice", **running)
    first = {"attempt": 1, "worker_id": "w-1", "instance_id": "i-1", "price_usd_per_h": 0.36, "outcome": "INTERRUPTED"}
    times = {"started_at": iso(NOON), "ended_at": iso(NOON + timedelta(hours=1))}
    rows: list[dict[str, Any]] = [
        {"SK": "ATTEMPT#000001", **first, **times, "reason": "spot notice", "start_step": 0, "checkpoint_step": 20},
        {"SK": "ATTEMPT#000002", "attempt": 2, "worker_id": "w-2", "started_at": iso(utc_now()), "start_step": 20},
        {"SK": "STATUS#1", "from": "PENDING", "to": "CLAIMED", "attempt": 1, "at": iso(NOON), "worker_id": "w-1"},
    ]
    client = clients.dynamodb()
    dynamo.batch_write(client, jobs_table, "seed", puts=[{"PK": job_pk(job_id), **row} for row in rows])
    store = JobStore(Table(client, jobs_table), job_id, interval_s=3600)
    for step, loss in ((10, 2.0), (20, 1.0), (30, math.nan), (40, 0.5)):
        store.metric("loss", loss, step=step, epoch=step / 10)
        store.log("info", f"at \x1b[1mstep {step}")
    store.metric("eval_f1", 0.75, step=40, epoch=4)
    store.checkpoint(20, epoch=2.0, path=Path("/mnt/checkpoints/jobs/a/checkpoint-20"), size_bytes=1_234_567_890)
    store.close()
    return job_id


def test_status_at_a_glance(job: str, call: Caller) -> None:
    """State, attempt, worker with its lease, failures, reason, last numbers and last log line."""
    out = call("job-status", "a-job").out
    assert all(said in out for said in (job, "RUNNING · attempt 2 · pool gpu", "w-2, lease until", "1 of 3"))
    assert all(said in out for said in ("spot notice", "0.5000 at step 40", "validation F1", "step 40 ("))
    assert "\x1b" not in out


def test_a_vanished_worker_is_seen(jobs_table: str, call: Caller) -> None:
    """A running job whose lease is over says so: nobody trains it."""
    past = iso(utc_now() - timedelta(minutes=7, seconds=5))
    job_id = add_job(jobs_table, status="RUNNING", worker_id="w-1", lease_expires_at=past)
    out = call("job-status", job_id).out
    assert "its lease ran out" in out
    assert "(7 min ago)" in out


def test_status_for_scripts(job: str, call: Caller) -> None:
    """The keys stay, the last metrics are there, and the log line is as it was written."""
    said = call("job-status", "--json", job[:8]).json
    assert tuple(said) == (*jobs.STATUS_KEYS, "last_metrics", "last_log")
    assert said["last_metrics"]["loss"]["step"] == 40
    assert said["last_metrics"]["eval_f1"]["value"] == 0.75
    assert said["last_log"] == "at \x1b[1mstep 40"


@pytest.mark.parametrize("columns", ["80", "200"])
def test_details_show_everything(columns: str, job: str, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spec, attempts with their reasons, checkpoints, states, curves and the cost so far, also on a narrow screen."""
    monkeypatch.setenv("COLUMNS", columns)
    out = call("job-details", job).out
    assert all(said in out for said in ("INTERRUPTED", "running", "1 h 00 min", "$0.36", "unknown"))
    assert "at least $0.36" in out
    assert "attempt 1  spot notice" in out
    assert all(said in out for said in ("Checkpoints", "1,234.6 MB", "2.00"))
    assert "PENDING -> CLAIMED" in out
    assert re.search("[\u2801-\u28ff]", out)
    assert "num_epochs" in out
    assert "0.00005" in out or "5e-05" in out
    assert all(len(line) <= int(columns) for line in out.splitlines())


def test_details_for_scripts(job: str, call: Caller) -> None:
    """The spec as stored, attempts with dollars, every value of every curve (null where it was NaN), the cost."""
    said = call("job-details", "--json", job).json
    assert said["spec"] == json.loads(SPEC)
    assert [row["usd"] for row in said["attempts"]] == [pytest.approx(0.36), None]
    assert said["attempts"][0]["checkpoint_step"] == 20
    assert [(row["step"], row["size_bytes"]) for row in said["checkpoints"]] == [(20, 1_234_567_890)]
    assert [row["to"] for row in said["transitions"]] == ["CLAIMED"]
    assert [point["value"] for point in said["metrics"]["loss"]] == [2.0, 1.0, None, 0.5]
    assert (said["cost"]["usd"], said["cost"]["num_unknown"]) == (pytest.approx(0.36), 1)


@pytest.mark.parametrize("spec", ["", "{", "[]", "7"])
def test_details_of_a_run_without_a_worker(spec: str, jobs_table: str, call: Caller) -> None:
    """A job that was never queued, or whose spec nobody can read, is shown with what there is."""
    job_id = add_job(jobs_table, status="SUCCEEDED", spec=spec)
    assert "no attempt yet" in call("job-details", job_id).out
    assert call("job-details", "--json", job_id).json["spec"] == {}


def test_a_step_that_was_trained_twice_is_one_point() -> None:
    """Of two attempts that reached a step the later attempt's value is the curve's, whatever the clocks said."""
    rows = [
        {"name": "loss", "step": 10, "epoch": 1, "value": 3.0, "timestamp": "2", "seq": 0, "attempt": 1},
        {"name": "loss", "step": 20, "epoch": 2, "value": 2.0, "timestamp": "3", "seq": 1, "attempt": 1},
        {"name": "loss", "step": 20, "epoch": 2, "value": 1.0, "timestamp": "1", "seq": 0, "attempt": 2},
    ]
    for order in (rows, rows[::-1]):
        points = curves(order)["loss"]
        assert [(point.step, point.value) for point in points] == [(10, 3.0), (20, 1.0)]


def test_the_log_and_its_end(job: str, call: Caller) -> None:
    """All lines, or the last ones, with control characters made harmless; as JSON an object a line."""
    out = call("logs", job).out
    assert [line.split("step ")[1] for line in out.splitlines()] == ["10", "20", "30", "40"]
    assert "\x1b" not in out
    assert call("logs", "-n", "1", job).out.count("\n") == 1
    said = [json.loads(line) for line in call("logs", "--json", job).out.splitlines()]
    assert [line["message"] for line in said] == [f"at \x1b[1mstep {step}" for step in (10, 20, 30, 40)]
    assert {tuple(line) for line in said} == {("timestamp", "level", "message", "attempt")}


def test_long_lines_are_not_cut(jobs_table: str, call: Caller) -> None:
    """A line of a log is printed whole, on one line, whatever the width of the screen."""
    job_id = add_job(jobs_table)
    store = JobStore(Table(clients.dynamodb(), jobs_table), job_id, interval_s=3600)
    store.log("error", "x" * 900)
    store.close()
    assert "x" * 900 in call("logs", job_id).out


class Time:
    """A clock that only sleeping moves, and that lets things happen on the way."""

    def __init__(self, *events: Any) -> None:
        self.now_s = 0.0
        self._events: Iterator[Any] = iter(events)

    def sleep(self, seconds: float) -> None:
        """Let so much time pass, and the next thing happen."""
        self.now_s += seconds
        event = next(self._events, None)
        if event is not None:
            event()


def test_following_ends_with_the_job_and_misses_nothing(jobs_table: str) -> None:
    """Lines come as they are written; what a job writes just before it ends is shown too, and then it is over."""
    client, shown = clients.dynamodb(), list[str]()
    job_id = add_job(jobs_table, status="RUNNING")

    def write(message: str) -> None:
        store = JobStore(Table(client, jobs_table), job_id, interval_s=3600)
        store.log("info", message)
        store.close()

    def end() -> None:
        write("the last words")
        add_job(jobs_table, job_id=job_id, status="FAILED", reason="no CUDA")

    def show(lines: Iterable[LogLine]) -> None:
        shown.extend(line.message for line in lines)

    write("early")
    time = Time(lambda: write("middle"), None, end)
    tail = LogTail(Table(client, jobs_table), job_id)
    row = follow_log(
        lambda: get_job(Table(client, jobs_table), job_id),
        tail,
        show,
        timeout_s=60,
        poll_s=2,
        monotonic=lambda: time.now_s,
        sleep=time.sleep,
    )
    assert shown == ["early", "middle", "the last words"]
    assert (row["status"], row["reason"], time.now_s) == ("FAILED", "no CUDA", 6.0)


def test_following_is_bounded(jobs_table: str) -> None:
    """A job that never ends is followed for `timeout_s` seconds and no longer."""
    job_id, client, time = add_job(jobs_table), clients.dynamodb(), Time()
    tail = LogTail(Table(client, jobs_table), job_id)
    row = follow_log(
        lambda: get_job(Table(client, jobs_table), job_id),
        tail,
        lambda lines: None,
        timeout_s=5,
        poll_s=2,
        monotonic=lambda: time.now_s,
        sleep=time.sleep,
    )
    assert (row["status"], time.now_s) == ("PENDING", 5.0)


@pytest.mark.parametrize(("status", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELLED", 1)])
def test_following_tells_a_script_how_it_ended(status: str, code: int, jobs_table: str, call: Caller) -> None:
    """`logs --follow` of an ended job returns at once: 0 if it succeeded, else 1 and the reason."""
    job_id = add_job(jobs_table, status=status, reason="because")
    said = call("logs", "--follow", job_id)
    assert said.code == code
    assert ("because" in said.err) == bool(code)


def test_a_timeout_of_following_is_said(jobs_table: str, call: Caller) -> None:
    """Without time to wait, `logs --follow` of a waiting job says where it stands and exits with 1."""
    job_id = add_job(jobs_table)
    said = call("logs", "--follow", "--timeout", "0", job_id)
    assert (said.code, said.err) == (1, f"job {job_id} is PENDING\n")
