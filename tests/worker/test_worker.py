from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.jobs.estimate import read_history
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.worker.interruptions import Interruption
from tests.strikes import expect, forget
from tests.training.runs import curve, epochs
from tests.waiting import wait_for
from tests.worker.bench import STEPS, Bench, Running


def test_a_job_runs_to_its_end(bench: Bench, hold: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM to its worker: the step is finished and saved, and another worker takes the job at once and ends it on
    the curve of a job that nobody interrupts. Both have a metric row for each step, and leave no message."""
    job_id = bench.submit()
    first = Running(bench.worker("first"))
    wait_for(hold.exists)
    first.worker.interrupt(Interruption("signal", "SIGTERM"))
    first.end()
    job = bench.table.get(job_id)
    assert (job.status, job.attempt, job.num_failures) == ("INTERRUPTED", 1, 0)
    assert bench.attempts(job_id)[0]["checkpoint_step"] == 7
    assert bench.num_messages() == 1
    forget(monkeypatch, "hold")
    whole_id = bench.submit()
    assert bench.worker("second").run() == "idle for 0 s"
    outcomes = {job_id: ["INTERRUPTED", "SUCCEEDED"], whole_id: ["SUCCEEDED"]}
    for one, wanted in outcomes.items():
        job, attempts = bench.table.get(one), bench.attempts(one)
        assert (job.status, job.attempt, job.num_failures) == ("SUCCEEDED", len(wanted), 0)
        assert job.f1 is not None
        assert [row["outcome"] for row in attempts] == wanted
        assert (attempts[-1]["worker_id"], attempts[-1]["start_step"]) == ("second", 7 if one == job_id else 0)
        assert bench.steps(one) == STEPS
    assert bench.num_messages() == 0
    mine, whole = (curve(bench.run_dir(one)) for one in outcomes)
    assert mine.keys() == whole.keys()
    for step, values in whole.items():
        assert mine[step] == pytest.approx(values, abs=1e-6), f"step {step}"
    for row, other in zip(*(epochs(bench.run_dir(one)) for one in outcomes), strict=True):
        assert row == pytest.approx(other, abs=1e-6)
    measured = [run.measured for run in read_history(Table(bench.dynamodb, bench.settings.jobs_table))]
    assert (STEPS[-1], 2.0, None) in [(one.steps, one.epochs, one.instance_type) for one in measured]


def test_a_child_that_dies_is_tried_again_up_to_the_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt keeps its reason; at the limit the job is FAILED and its message gone."""
    expect(monkeypatch, "before", 3)
    job_id = bench.submit(max_failures=2)
    bench.worker().run()
    job = bench.table.get(job_id)
    assert (job.status, job.attempt, job.num_failures) == ("FAILED", 2, 2)
    reasons = [row["reason"] for row in bench.attempts(job_id)]
    assert len(reasons) == 2
    assert all("SIGKILL" in reason for reason in reasons)
    assert bench.num_messages() == 0


def test_a_users_mistake_fails_at_once_with_its_line(bench: Bench) -> None:
    """Another attempt would fail in the same way: there is none, and the reason is the line the user needs."""
    job_id = bench.submit(data={"dataset_name": "/nowhere/receipts.jsonl"})
    bench.worker().run()
    job = bench.table.get(job_id)
    assert (job.status, job.attempt) == ("FAILED", 1)
    assert "/nowhere/receipts.jsonl" in (job.reason or "")
    assert "\n" not in (job.reason or "")
    assert bench.num_messages() == 0


def test_cancel_stops_a_running_job(bench: Bench, hold: Path) -> None:
    """The next heartbeat sees the request, the training process ends, and the job is CANCELLED."""
    job_id = bench.submit()
    running = Running(bench.worker())
    wait_for(hold.exists)
    assert bench.table.cancel(job_id).cancel_requested
    running.end()
    assert bench.table.get(job_id).status == "CANCELLED"
    assert bench.num_messages() == 0


def test_a_worker_that_lost_its_lease_stops_and_writes_nothing(bench: Bench, hold: Path) -> None:
    """Another one claimed over an expired lease: the first one's child ends, and job and message are not its own."""
    job_id = bench.submit()
    running = Running(bench.worker("first"))
    wait_for(hold.exists)
    later = JobTable(bench.dynamodb, bench.settings.jobs_table, clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    claim = later.claim(job_id, "second", 3600, {})
    assert getattr(claim, "number", None) == 2
    running.end()
    job = bench.table.get(job_id)
    assert (job.status, job.attempt, job.worker_id) == ("CLAIMED", 2, "second")
    assert bench.num_messages() == 1


def test_what_is_no_job_of_ours_is_left_and_what_has_ended_is_deleted(bench: Bench) -> None:
    """A body that nobody can read stays for the redrive policy; a second message of an ended job goes."""
    job_id = bench.submit(data={"dataset_name": "/nowhere"})
    bench.worker().run()
    clients.sqs().send_message(
        QueueUrl=bench.queue_url, MessageBody="not ours", MessageGroupId="x", MessageDeduplicationId="x"
    )
    bench.queue.send(job_id, f"{job_id}:again")
    bench.worker(max_jobs=1, idle_timeout_s=0.5).run()
    assert bench.num_messages() == 1
    assert bench.table.get(job_id).attempt == 1
