from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from receipt_trainer.local.imds import ImdsStandIn
from receipt_trainer.worker.interruptions import POLL_S
from receipt_trainer.worker.settings import WorkerSettings
from tests.fork_server import Forked
from tests.strikes import expect
from tests.waiting import TIMEOUT_S, wait_for
from tests.worker.bench import Bench

NOTICE_S = 120.0
"""AWS takes a spot instance away so long after its notice."""


def started(bench: Bench, service: ImdsStandIn) -> Forked:
    """`start-worker` on an instance."""
    return bench.start(environ={"AWS_EC2_METADATA_SERVICE_ENDPOINT": service.url})


def test_a_notice_frees_the_job_before_the_instance_goes(bench: Bench, hold: Path) -> None:
    """`start-worker` asks the metadata service: the job is in the queue again, and no wait is as long as a notice."""
    job_id = bench.submit()
    with ImdsStandIn("i-0abc") as service, started(bench, service) as worker:
        wait_for(lambda: worker.poll() is not None or hold.exists())
        told_at = datetime.now(UTC)
        service.interrupt("spot")
        assert worker.wait(TIMEOUT_S) == 0
    rows = bench.rows(job_id, "LOG#")
    (noticed,) = (row for row in rows if "interrupted, asked for a checkpoint: spot notice" in row["message"])
    assert told_at <= datetime.fromisoformat(noticed["timestamp"])
    own = WorkerSettings(Path(), "")
    assert POLL_S + own.stop_grace_s + own.kill_grace_s < NOTICE_S
    message = bench.queue.receive(1)
    assert message is not None  # it is visible at once, not when its invisibility ends
    (attempt,) = bench.attempts(job_id)
    assert (attempt["outcome"], attempt["checkpoint_step"], attempt["instance_id"]) == ("INTERRUPTED", 7, "i-0abc")
    assert bench.table.get(job_id).status == "INTERRUPTED"


def test_a_recommendation_is_a_checkpoint_and_no_end(
    bench: Bench, hold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a rebalance recommendation alone the job is saved at the end of its step and trains on in the same attempt;
    the spot notice behind it ends the attempt as it always does."""
    saving = tmp_path / "saving"
    expect(monkeypatch, "save", 5, file=saving)  # in step 3
    job_id = bench.submit()
    with ImdsStandIn("i-0abc") as service, started(bench, service) as worker:
        wait_for(lambda: worker.poll() is not None or saving.exists())
        service.interrupt("rebalance")
        wait_for(lambda: worker.poll() is not None or hold.exists())
        wait_for(lambda: bench.rows(job_id, "CHECKPOINT#"))
        assert [row["step"] for row in bench.rows(job_id, "CHECKPOINT#")] == [3]
        assert (worker.poll(), bench.table.get(job_id).status) == (None, "RUNNING")
        assert any("checkpoint, training continues: rebalance" in line for line in bench.log(job_id))
        service.interrupt("spot")
        assert worker.wait(TIMEOUT_S) == 0
    (attempt,) = bench.attempts(job_id)
    assert (attempt["outcome"], attempt["checkpoint_step"]) == ("INTERRUPTED", 7)
    assert "spot notice" in attempt["reason"]


def test_a_worker_without_a_job_goes_at_a_recommendation(bench: Bench) -> None:
    """It does not wait for its idle time of ten minutes."""
    with ImdsStandIn("i-0abc") as service, started(bench, service) as worker:
        service.interrupt("rebalance")
        assert worker.wait(TIMEOUT_S) == 0
