"""Boots that fail: each says why in the log group and the table, and ends its instance."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import boto3
import pytest

from tests.userdata.machine import WHEELHOUSE_HASH, Account, Machine
from tests.userdata.wheels import make_wheelhouse


def _assert_failed(machine: Machine, step: str, *reasons: str) -> None:
    account = machine.account
    [message] = account.logged()
    item = account.item(f"INSTANCE#{account.instance_id}", "INSTANCE")
    assert message.startswith(f"boot failed: step={step} exit=")
    assert "\n" not in message
    for reason in reasons:
        assert reason in message
    assert item["status"] == {"S": "BOOT_FAILED"}
    assert item["reason"] == {"S": message}
    assert item["pool"] == {"S": "gpu"}
    assert 6.9 * 86400 < float(item["expires_at"]["N"]) - time.time() <= 7 * 86400
    [metric] = _failures_metric(account)
    assert metric >= 1
    group = account.asg()
    assert group["DesiredCapacity"] == 0
    assert group["Instances"] == []
    assert "-h now" in machine.calls("shutdown")


def _failures_metric(account: Account) -> list[float]:
    dimensions = [{"Name": "Environment", "Value": "dev"}, {"Name": "Pool", "Value": "gpu"}]
    now = time.time()
    points = boto3.client("cloudwatch").get_metric_statistics(
        Namespace="ReceiptTrainer",
        MetricName="BootFailures",
        Dimensions=dimensions,
        StartTime=now - 3600,
        EndTime=now + 3600,
        Period=7200,
        Statistics=["Sum"],
    )["Datapoints"]
    return [sum(point["Sum"] for point in points)]


def test_no_wheelhouse_in_s3(machine: Machine) -> None:
    """An empty prefix is a failed boot that names it, at once: waiting would not help."""
    assert machine.boot(install_deadline_s=7200).returncode != 0
    prefix = f"s3://{machine.account.group}-wheels/wheelhouse/{WHEELHOUSE_HASH}/"
    _assert_failed(machine, "install", f"no wheelhouse in {prefix}: manifest.json is missing")
    assert machine.calls("mount") == machine.calls("systemctl") == []


@pytest.mark.parametrize("pattern", ["archives/*.tar", "trainer/*/receipt_trainer-*.whl"])
@pytest.mark.parametrize("damage", ["broken", "missing"])
def test_a_half_upload(machine: Machine, tmp_path: Path, pattern: str, damage: str) -> None:
    """An archive or a trainer's wheel that is not there, or has another sha256 than its manifest says: named."""
    make_wheelhouse(tmp_path / "wheels", WHEELHOUSE_HASH)
    [found] = (tmp_path / "wheels").glob(pattern)
    if damage == "missing":
        found.unlink()
    else:
        found.write_bytes(found.read_bytes()[:-1])
    machine.account.upload(tmp_path / "wheels")
    assert machine.boot(install_deadline_s=7200 if damage == "missing" else 0).returncode != 0
    said = f"{found.name} is missing" if damage == "missing" else f"{found.name}: FAILED"
    _assert_failed(machine, "install", said)
    assert not any("-m pip" in arguments for arguments in machine.calls("python"))


def test_an_archive_of_other_wheels(machine: Machine, tmp_path: Path) -> None:
    """Each wheel is compared, too: one with another sha256 than the manifest says is never installed."""
    make_wheelhouse(tmp_path / "wheels", WHEELHOUSE_HASH)
    manifest = tmp_path / "wheels" / WHEELHOUSE_HASH / "manifest.json"
    listed = json.loads(manifest.read_text())
    next(wheel for wheel in listed["wheels"] if wheel["name"] == "tiny_train")["sha256"] = "0" * 64
    manifest.write_text(json.dumps(listed))
    machine.account.upload(tmp_path / "wheels")
    assert machine.boot().returncode != 0
    _assert_failed(machine, "install", "tiny_train-0.1.0-py3-none-any.whl: FAILED")
    assert not any("-m pip" in arguments for arguments in machine.calls("python"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hash": "another"}, "the wheelhouse has the hash another, not 0123456789abcdef"),
        (
            {"pythons": ["2.6", "2.7"]},
            "the wheelhouse is for 2.6 and 2.7: set receipt-trainer:wheelhouse.python_versions",
        ),
        ({"wheels": "but one"}, "but not in its manifest: receipt_trainer-0.1.0-py3-none-any.whl"),
    ],
)
def test_a_manifest_that_does_not_fit(machine: Machine, tmp_path: Path, change: dict[str, object], reason: str) -> None:
    """Another hash, another Python, or a wheel that the manifest does not name: refused before pip."""
    make_wheelhouse(tmp_path / "wheels", WHEELHOUSE_HASH)
    manifest = tmp_path / "wheels" / WHEELHOUSE_HASH / "manifest.json"
    listed = json.loads(manifest.read_text())
    if "wheels" in change:
        change = {"wheels": [wheel for wheel in listed["wheels"] if wheel["name"] != "receipt_trainer"]}
    manifest.write_text(json.dumps(listed | change))
    machine.account.upload(tmp_path / "wheels")
    assert machine.boot().returncode != 0
    _assert_failed(machine, "install", reason)
    assert not any("-m pip" in arguments for arguments in machine.calls("python"))


def test_a_file_system_that_never_mounts(golden: Machine) -> None:
    """After the deadline the boot fails with mount's own words."""
    (golden.plans / "mount-failures").write_text("1000")
    assert golden.boot().returncode == 32
    _assert_failed(
        golden, "mount_efs", "exit=32", "mount.nfs4: Connection reset by peer", "gave up: timeout 45 mount -t efs"
    )


def test_a_full_disk(golden: Machine) -> None:
    """The kernel's own ENOSPC, from /dev/full in the place of fstab: said, recorded, ended."""
    (golden.root / "etc/fstab").unlink()
    (golden.root / "etc/fstab").symlink_to("/dev/full")
    assert golden.boot().returncode != 0
    _assert_failed(golden, "mount_efs", "No space left on device")


def test_a_disk_too_full_for_the_log(golden: Machine) -> None:
    """With /dev/full in the place of the log, too, the failure is still recorded: nothing of it needs the disk."""
    for path in ("etc/fstab", "var/log/receipt-trainer/boot.log"):
        golden.write(path, "")
        (golden.root / path).unlink()
        (golden.root / path).symlink_to("/dev/full")
    assert golden.boot().returncode != 0
    _assert_failed(golden, "mount_efs")


def test_a_silent_imds(golden: Machine) -> None:
    """Nobody listens at the IMDS's address: the id comes from cloud-init, and the instance ends."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert golden.boot(imds_url=f"http://127.0.0.1:{nobody.getsockname()[1]}").returncode != 0
    _assert_failed(golden, "identify", "curl")


@pytest.mark.parametrize(("plan", "step"), [("fails", "start_worker"), ("restarts", "watch_worker")])
def test_a_unit_that_does_not_stay_up(golden: Machine, plan: str, step: str) -> None:
    """A unit that cannot start, or that systemd had to start again, is a failed boot, in the worker's own words."""
    (golden.plans / "unit").write_text(plan)
    golden.write("var/log/receipt-trainer/worker.log", "error: open sqs: no AWS region\n")
    assert golden.boot().returncode != 0
    _assert_failed(golden, step, "error: open sqs: no AWS region", "unit: Result=exit-code ExecMainStatus=2")
    assert golden.calls("systemctl")[-1] == "stop receipt-worker.service"


def test_a_unit_that_says_nothing(golden: Machine) -> None:
    """Without a word of the worker, the boot's own last lines say what there is to say."""
    (golden.plans / "unit").write_text("fails")
    assert golden.boot().returncode != 0
    _assert_failed(golden, "start_worker", "Job for receipt-worker.service failed")


def test_a_boot_that_hangs(machine: Machine) -> None:
    """Whatever hangs is ended at the boot's deadline, and named."""
    (machine.plans / "dnf").write_text("hangs")
    assert machine.boot(boot_deadline_s=2).returncode != 0
    _assert_failed(machine, "install", "not booted after 2 s")


def test_a_reclaimed_instance_does_not_count(machine: Machine) -> None:
    """SIGTERM during the boot is recorded, but says nothing about the stack: the breaker does not count it."""
    (machine.plans / "dnf").write_text("interrupts")
    assert machine.boot().returncode != 0
    _assert_failed(machine, "signal", "SIGTERM during install")
    assert machine.account.item("POOL#gpu", "BOOT_FAILURES") == {}


def test_a_worker_that_fails_later_ends_its_instance(golden: Machine) -> None:
    """receipt-worker-failed.service runs the same path, with the worker's last words, from files that outlive /run."""
    assert golden.boot().returncode == 0
    golden.write("var/log/receipt-trainer/worker.log", 'Traceback\nImportError: no "torch"\n')
    for file in ("boot.env", "boot_failed.sh"):
        (golden.root / "run/receipt-trainer" / file).unlink()
    done = golden.run_failed_unit()
    assert done.returncode == 0, done.stderr
    _assert_failed(golden, "worker", 'ImportError: no "torch"')
    unit = golden.read("etc/systemd/system/receipt-worker.service")
    assert "OnFailure=receipt-worker-failed.service\n" in unit


def test_three_failed_boots_stop_the_launches(golden: Machine) -> None:
    """The third failure in a row suspends the group's launches and says how to resume; the second does not."""
    account = golden.account
    seed = {"PK": {"S": "POOL#gpu"}, "SK": {"S": "BOOT_FAILURES"}, "num_failures": {"N": "1"}}
    boto3.client("dynamodb").put_item(TableName=account.table, Item=seed)
    (golden.plans / "unit").write_text("fails")
    golden.boot()
    assert account.asg()["SuspendedProcesses"] == []
    golden.boot()
    assert [process["ProcessName"] for process in account.asg()["SuspendedProcesses"]] == ["Launch"]
    resume = f"aws autoscaling resume-processes --auto-scaling-group-name {account.group} --scaling-processes Launch"
    assert resume in account.logged()[-1]


def test_a_good_boot_starts_the_count_again(golden: Machine) -> None:
    """Two failures, a success, and a failure make one failure in a row."""
    account = golden.account
    seed = {"PK": {"S": "POOL#gpu"}, "SK": {"S": "BOOT_FAILURES"}, "num_failures": {"N": "2"}}
    boto3.client("dynamodb").put_item(TableName=account.table, Item=seed)
    assert golden.boot().returncode == 0
    (golden.plans / "unit").write_text("fails")
    golden.boot()
    assert account.item("POOL#gpu", "BOOT_FAILURES")["num_failures"] == {"N": "1"}
    assert account.asg()["SuspendedProcesses"] == []


def test_an_account_out_of_reach_still_ends_the_instance(golden: Machine) -> None:
    """With no AWS to record anything in, every step is tried, and the machine shuts itself down."""
    (golden.plans / "unit").write_text("fails")
    (golden.root / "usr/bin/aws").write_text("#!/bin/bash\nexit 255\n")
    assert golden.boot().returncode != 0
    log = golden.read("var/log/receipt-trainer/boot.log")
    for step in ("record_log", "record_instance", "record_metric", "break_loop", "end_instance"):
        assert f"failed: {step}" in log
    assert "-h now" in golden.calls("shutdown")
