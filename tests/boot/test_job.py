"""A job over two instances of the Golden AMI, the first of which AWS takes back."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from receipt_trainer.contract.tables import INSTANCE_SK, instance_pk
from tests.boot.cloud import Account, with_values
from tests.boot.instance import Instance
from tests.boot.jobs import CHILD, Jobs

READY_S, RELEASED_S = 100.0, 60.0
"""Ten times what a quiet machine may need: 10 s without the settle time, 5 s with two seconds between two looks."""
IDLE_S = 15
UNIT = "etc/systemd/system/receipt-worker.service.d/idle.conf"
START = "/opt/pytorch/bin/receipt-trainer start-worker"


def _row(account: Account, instance: Instance) -> dict[str, str]:
    return account.item(instance_pk(instance.folder.name), INSTANCE_SK)


def _ready_s(account: Account, instance: Instance) -> float:
    """Seconds from the first line of the boot's log to the worker's row."""
    began = datetime.fromisoformat(instance.boot_log().split(" ", 1)[0])
    return (datetime.fromisoformat(_row(account, instance)["started_at"]).astimezone(UTC) - began).total_seconds()


def test_a_job_survives_its_instance(
    account: Account, golden: list[Path], user_data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From cloud-init to the last row: boot, train, notice, hand back, end; resume elsewhere, finish, end when idle.
    The last job starts from the weights that the image carries: nothing here reaches a hub.

    The test plays EC2 in one thing: it switches an instance off after its group has ended it.
    """
    jobs = Jobs(account, tmp_path)
    job = jobs.submit()
    first, service = account.launch(golden, with_values(user_data, settle_s=5))
    first.boot()
    first.wait_for("the worker's row", lambda: _row(account, first).get("status") in ("IDLE", "RUNNING"))
    ready_s = _ready_s(account, first)

    first.wait_for("a checkpoint", lambda: jobs.rows(job, "CHECKPOINT#"))
    first.signal("STOP", CHILD)  # not done before the notice, however fast the machine is
    service.interrupt("spot")
    noticed = time.monotonic()
    first.wait_for("the worker asks its child to stop", lambda: _row(account, first).get("status") == "STOPPING")
    first.signal("CONT", CHILD)
    first.wait_for("the message is released", lambda: jobs.num_visible() == 1)
    released_s = time.monotonic() - noticed
    first.wait_for("the job is handed back", lambda: jobs.get(job).status == "INTERRUPTED")
    first.wait_for("the group ends the instance", lambda: first.folder.name not in account.members())
    first.stop()
    assert jobs.outcomes(job) == ["INTERRUPTED"]
    assert "spot notice" in jobs.rows(job, "ATTEMPT#")[0]["reason"]
    assert account.item("POOL#cpu", "BOOT_FAILURES").get("num_failures", "0") == "0"

    undisturbed, from_weights = jobs.submit(), jobs.submit("line.yaml", num_epochs=1)
    second, _ = account.launch(golden, with_values(user_data, settle_s=5))
    second.write(UNIT, f"[Service]\nExecStart=\nExecStart={START} --idle-timeout {IDLE_S}\n")
    second.boot()
    for each in (job, undisturbed, from_weights):
        second.wait_for("the job's end", lambda each=each: jobs.get(each).status in ("SUCCEEDED", "FAILED"))
        assert jobs.get(each).status == "SUCCEEDED", second.words()
    second.wait_for("the idle worker ends its instance", lambda: second.folder.name not in account.members())
    second.wait_for("the worker's last word", lambda: _row(account, second)["status"] == "ENDED")
    second.stop()

    assert jobs.outcomes(job) == ["INTERRUPTED", "SUCCEEDED"]
    assert jobs.outcomes(undisturbed) == jobs.outcomes(from_weights) == ["SUCCEEDED"]
    attempts = jobs.rows(job, "ATTEMPT#")
    curve = jobs.losses(job)
    assert 0 < int(attempts[1]["start_step"]) == int(attempts[0]["checkpoint_step"]) < max(curve)
    assert sorted(curve) == list(range(1, max(curve) + 1))
    assert curve == pytest.approx(jobs.losses(undisturbed), abs=1e-6)
    assert {"run.json", "report.html"} <= jobs.artifacts(job)
    assert jobs.num_visible() == 0
    assert _row(account, second)["reason"] == f"idle for {IDLE_S} s"
    assert account.describe_group()["DesiredCapacity"] == 0
    assert ready_s < READY_S
    assert released_s < RELEASED_S
    with capsys.disabled():
        print(f"\nboot: user data to worker's row {ready_s:.1f} s, notice to released message {released_s:.1f} s")
