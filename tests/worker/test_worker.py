from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.aws.imds import Imds
from receipt_trainer.jobs.estimate import read_history
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.local.imds import ImdsStandIn
from receipt_trainer.worker.interruptions import Interruption, Watch
from tests.strikes import expect, forget
from tests.training.runs import curve, epochs
from tests.worker.bench import STEPS, Bench, Running, wait_for


@pytest.fixture(scope="module")
def remembered() -> dict[str, Any]:
    """What one undisturbed run left, for all tests that this process runs."""
    return {}


@pytest.fixture
def undisturbed(bench: Bench, remembered: dict[str, Any]) -> dict[str, Any]:
    """Curve and epochs of a job that nobody disturbs; asked for before `hold`, which would disturb it."""
    if not remembered:
        job_id = bench.submit()
        bench.worker().run()
        remembered.update(curve=curve(bench.run_dir(job_id)), epochs=epochs(bench.run_dir(job_id)))
    return remembered


def test_a_job_runs_to_its_end(bench: Bench) -> None:
    """SUCCEEDED with its score, one attempt, a metric row for each step, no message left, and the worker goes."""
    job_id = bench.submit()
    assert bench.worker().run() == "idle for 0 s"
    job = bench.table.get(job_id)
    assert (job.status, job.attempt, job.num_failures) == ("SUCCEEDED", 1, 0)
    assert job.f1 is not None
    assert bench.steps(job_id) == STEPS
    assert bench.num_messages() == 0
    (attempt,) = bench.attempts(job_id)
    assert (attempt["outcome"], attempt["worker_id"]) == ("SUCCEEDED", "worker")
    (run,) = read_history(bench.dynamodb, bench.settings.jobs_table)
    assert (run.measured.steps, run.measured.epochs, run.measured.instance_type) == (STEPS[-1], 2.0, None)


def interrupted(bench: Bench, job_id: str, hold: Path, interrupt: Callable[[Running], None]) -> None:
    """Let a first worker begin, interrupt it in the middle of step 7, and look at what it leaves."""
    first = Running(bench.worker("first"))
    wait_for(hold.exists)
    interrupt(first)
    first.end()
    job = bench.table.get(job_id)
    assert (job.status, job.attempt, job.num_failures) == ("INTERRUPTED", 1, 0)
    assert bench.attempts(job_id)[0]["checkpoint_step"] == 7
    assert bench.num_messages() == 1


def resumed(bench: Bench, job_id: str, undisturbed: dict[str, Any]) -> None:
    """A second worker takes the job at once, and ends it as if nothing had happened."""
    bench.worker("second").run()
    job = bench.table.get(job_id)
    assert (job.status, job.attempt, job.num_failures) == ("SUCCEEDED", 2, 0)
    assert [row["outcome"] for row in bench.attempts(job_id)] == ["INTERRUPTED", "SUCCEEDED"]
    assert bench.attempts(job_id)[1]["start_step"] == 7
    mine = curve(bench.run_dir(job_id))
    assert mine.keys() == undisturbed["curve"].keys()
    for step, values in undisturbed["curve"].items():
        assert mine[step] == pytest.approx(values, abs=1e-6), f"step {step}"
    for row, other in zip(epochs(bench.run_dir(job_id)), undisturbed["epochs"], strict=True):
        assert row == pytest.approx(other, abs=1e-6)
    assert bench.steps(job_id) == STEPS
    assert bench.num_messages() == 0


def test_an_interrupted_job_goes_on_where_it_was(
    bench: Bench, undisturbed: dict[str, Any], hold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM to the worker: the step is finished and saved, and the next worker's curve is the undisturbed one."""
    job_id = bench.submit()
    interrupted(bench, job_id, hold, lambda one: one.worker.interrupt(Interruption("signal", "SIGTERM")))
    forget(monkeypatch, "hold")
    resumed(bench, job_id, undisturbed)


def test_a_spot_notice_does_the_same(
    bench: Bench, undisturbed: dict[str, Any], hold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notice of the metadata service reaches the training process, and the job's row says why it left."""
    job_id = bench.submit()
    with ImdsStandIn() as service:

        def notice(running: Running) -> None:
            watch = Watch(Imds(service.url), running.worker.interrupt, running.worker.advise, interval_s=0.05)
            service.interrupt("spot")
            running.end()
            watch.close()

        interrupted(bench, job_id, hold, notice)
    assert "spot notice" in bench.attempts(job_id)[0]["reason"]
    forget(monkeypatch, "hold")
    resumed(bench, job_id, undisturbed)


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
