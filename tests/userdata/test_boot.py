"""The user data really boots: under bash, in a scratch root, against the embedded AWS and a stand-in of the IMDS."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import boto3

from receipt_trainer.contract.env import WorkerEnv
from tests.contract.systemd_reader import read_like_systemd
from tests.infra.worker_values import worker_env
from tests.userdata.machine import WHEELHOUSE_HASH, Machine, upload_wheelhouse


def _build_installed(venv_python: Path) -> str:
    code = "import receipt_trainer, tiny_train, tiny_report; print(receipt_trainer.BUILD)"
    return subprocess.run([venv_python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _assert_booted(machine: Machine) -> None:
    log = machine.read("var/log/receipt-trainer/boot.log")
    assert "booted in " in log
    assert "step mount_efs took " in log
    assert machine.calls("shutdown") == []
    assert machine.account.logged() == []
    mounts = machine.calls("mount")
    assert [arguments.split()[-1].removeprefix(str(machine.root)) for arguments in mounts] == [
        "/mnt/checkpoints",
        "/mnt/training",
    ]
    for arguments, access_point in zip(mounts, ("fsap-0123456789abcdef0", "fsap-0123456789abcdef1"), strict=True):
        assert f"tls\\,iam\\,accesspoint={access_point} fs-0123456789abcdef0:/" in arguments
    assert all("--reuid=1000 --regid=1000" in arguments for arguments in machine.calls("setpriv"))
    off = ["disable --now sshd.socket", "disable --now sshd.service"]
    assert machine.calls("systemctl")[:4] == [*off, "daemon-reload", "enable --now receipt-worker.service"]
    assert "sshd.service is off" in machine.read("var/log/receipt-trainer/boot.log")
    assert len(machine.calls("amazon-cloudwatch-agent-ctl")) == 1


def test_a_golden_image_installs_nothing(golden: Machine) -> None:
    """With the right hash in the marker there is no dnf, no pip, no S3: mounts, environment, unit, and that is all."""
    done = golden.boot()
    assert done.returncode == 0, golden.read("var/log/receipt-trainer/boot.log")
    _assert_booted(golden)
    assert golden.calls("dnf") == golden.calls("pip") == golden.calls("python") == []
    assert [arguments.split()[0] for arguments in golden.calls("aws")] == ["dynamodb"]
    assert golden.account.item("POOL#gpu", "BOOT_FAILURES")["num_failures"] == {"N": "0"}


def test_the_worker_gets_its_environment(golden: Machine) -> None:
    """worker.env holds what the stack said, by our reader and by another; only root and ec2-user may read it."""
    golden.boot()
    text = golden.read("etc/receipt-trainer/worker.env")
    expected = worker_env(jobs_table="jobs $(id) \"'\\ %n")
    assert WorkerEnv.read(read_like_systemd(text)) == expected
    assert read_like_systemd(text) == expected.model_dump(by_alias=True) | {"AWS_DEFAULT_REGION": "us-east-1"}
    path = golden.root / "etc/receipt-trainer/worker.env"
    assert path.stat().st_mode & 0o777 == 0o640
    assert golden.calls("chown") == [f"root:ec2-user {path}.new"]


def test_a_restart_finds_its_file_systems_and_its_unit(golden: Machine) -> None:
    """fstab and the enabled unit are enough for a second start, when cloud-init runs nothing."""
    golden.boot()
    added = golden.read("etc/fstab").splitlines()[1:]
    options = "efs _netdev,nofail,tls,iam,accesspoint=fsap-0123456789abcdef"
    assert added == [
        f"fs-0123456789abcdef0:/ /mnt/checkpoints {options}0 0 0",
        f"fs-0123456789abcdef0:/ /mnt/training {options}1 0 0",
    ]
    unit = golden.read("etc/systemd/system/receipt-worker.service")
    assert "RequiresMountsFor=/mnt/checkpoints /mnt/training\n" in unit
    assert "EnvironmentFile=/etc/receipt-trainer/worker.env\n" in unit


def test_the_logs_are_rotated_every_hour(golden: Machine) -> None:
    """The rules match every log, work while systemd appends to it and more than once a day; their timer is hourly."""
    golden.boot()
    unit = golden.read("etc/systemd/system/receipt-worker.service")
    log = next(line for line in unit.splitlines() if line.startswith("StandardOutput=append:")).partition(":")[2]
    rules = golden.read("etc/logrotate.d/receipt-trainer")
    assert f"{Path(log).parent}/*.log {{" in rules
    kept = {"copytruncate", "maxsize 50M", "rotate 3", "nodateext"}
    assert kept <= {line.strip() for line in rules.splitlines()}
    timer = golden.read("etc/systemd/system/logrotate.timer.d/receipt-trainer.conf")
    assert "[Timer]\nOnCalendar=\nOnCalendar=hourly\n" in timer
    assert {"enable logrotate.timer", "restart logrotate.timer"} <= set(golden.calls("systemctl"))


def test_the_agent_ships_both_logs(golden: Machine) -> None:
    """The agent is given a file with both logs, their groups, and a stream for each instance."""
    golden.boot()
    config = json.loads(golden.read("etc/receipt-trainer/cloudwatch_agent.json"))
    shipped = config["logs"]["logs_collected"]["files"]["collect_list"]
    assert {(entry["file_path"], entry["log_group_name"], entry["log_stream_name"]) for entry in shipped} == {
        ("/var/log/receipt-trainer/boot.log", golden.account.boot_log_group, "{instance_id}"),
        ("/var/log/receipt-trainer/worker.log", "/receipt-trainer/dev/worker", "{instance_id}"),
    }


def test_the_parent_image_installs_from_the_wheelhouse(machine: Machine, venv_python: Path, tmp_path: Path) -> None:
    """Packages by dnf, wheels and models from S3, a real pip without an index; then the image says what it has."""
    upload_wheelhouse(machine.account, tmp_path / "wheels")
    bucket = f"{machine.account.group}-wheels"
    boto3.client("s3").put_object(Bucket=bucket, Key="hf_cache/hub/model.bin", Body=b"weights")
    done = machine.boot()
    assert done.returncode == 0, machine.read("var/log/receipt-trainer/boot.log")
    _assert_booted(machine)
    assert machine.calls("dnf") == [
        "-y -q --repo amazonlinux install amazon-efs-utils amazon-cloudwatch-agent logrotate"
    ]
    assert machine.read("opt/hf_cache/hub/model.bin") == "weights"
    pip = [arguments for arguments in machine.calls("python") if arguments.startswith("-m pip")]
    assert pip
    assert all("--no-index --no-deps" in arguments for arguments in pip)
    assert _build_installed(venv_python) == "first"
    wheels = sorted(path.name for path in (machine.root / "opt/wheels").iterdir())
    tiny = [f"tiny_{extra}-0.1.0-py3-none-any.whl" for extra in ("report", "train")]
    assert wheels == ["manifest.json", "receipt_trainer-0.1.0-py3-none-any.whl", *tiny]
    assert json.loads(machine.read("opt/receipt-trainer/image.json"))["wheelhouse"] == WHEELHOUSE_HASH


def test_an_older_golden_image_gets_the_newer_trainer(golden: Machine, venv_python: Path, tmp_path: Path) -> None:
    """Another hash in the marker: the newer wheel replaces the old one, though both have the same version.

    Without models in the bucket there is a cache nevertheless, empty, that a worker behind a NAT gateway can fill.
    """
    golden.make_golden("an-older-hash")
    upload_wheelhouse(golden.account, tmp_path / "wheels", build="second")
    done = golden.boot()
    assert done.returncode == 0, golden.read("var/log/receipt-trainer/boot.log")
    assert golden.calls("dnf") == []
    assert _build_installed(venv_python) == "second"
    assert list((golden.root / "opt/hf_cache").iterdir()) == []


def test_a_network_that_is_not_there_yet_is_waited_for(machine: Machine, venv_python: Path, tmp_path: Path) -> None:
    """While a stack is made the first calls may fail: packages and wheels are asked for again, and installed."""
    upload_wheelhouse(machine.account, tmp_path / "wheels", build="third")
    (machine.plans / "dnf-failures").write_text("1")
    (machine.plans / "aws-failures").write_text("2")
    assert machine.boot(install_deadline_s=60).returncode == 0, machine.read("var/log/receipt-trainer/boot.log")
    assert len(machine.calls("dnf")) == 2
    assert _build_installed(venv_python) == "third"


def test_a_slow_file_system_is_waited_for(golden: Machine) -> None:
    """Three failed mounts before the deadline are no failed boot."""
    (golden.plans / "mount-failures").write_text("3")
    assert golden.boot(mount_deadline_s=60).returncode == 0
    assert len(golden.calls("mount")) == 5
