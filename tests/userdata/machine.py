"""An instance to boot: a scratch root, stand-ins on PATH, and an account on the embedded AWS."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3

from infra.pools.user_data import render_user_data
from receipt_trainer.contract.tables import INSTANCES
from receipt_trainer.local.imds import ImdsStandIn
from tests.infra.worker_values import boot_env, worker_env
from tests.userdata.wheels import make_wheelhouse

STAND_INS = Path(__file__).parent / "stand_ins"
AGENT_DIR = "opt/aws/amazon-cloudwatch-agent/bin"
WHEELHOUSE_HASH = "0123456789abcdef"


@dataclass
class Account:
    """What the stack would have made: a group with one instance, log groups, a table, a bucket of wheels."""

    group: str = field(default_factory=lambda: f"workers-{uuid4().hex[:8]}")
    instance_id: str = ""

    def __post_init__(self) -> None:
        self.table, self.boot_log_group = f"{self.group}-instances", f"/{self.group}/boot"
        boto3.client("dynamodb").create_table(**INSTANCES.create_arguments(self.table))
        boto3.client("logs").create_log_group(logGroupName=self.boot_log_group)
        boto3.client("s3").create_bucket(Bucket=f"{self.group}-wheels")
        boto3.client("ec2").create_launch_template(
            LaunchTemplateName=self.group, LaunchTemplateData={"ImageId": "ami-12c6146b", "InstanceType": "g5.xlarge"}
        )
        boto3.client("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName=self.group,
            LaunchTemplate={"LaunchTemplateName": self.group, "Version": "1"},
            MinSize=0,
            MaxSize=2,
            DesiredCapacity=1,
            AvailabilityZones=["us-east-1a"],
        )
        self.instance_id = self.asg()["Instances"][0]["InstanceId"]

    def asg(self) -> dict[str, Any]:
        """The Auto Scaling group as AWS describes it."""
        groups = boto3.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[self.group])
        return dict(groups["AutoScalingGroups"][0])

    def item(self, pk: str, sk: str) -> dict[str, dict[str, str]]:
        """One item of the instances table, {} if it is not there."""
        key = {"PK": {"S": pk}, "SK": {"S": sk}}
        return dict(boto3.client("dynamodb").get_item(TableName=self.table, Key=key).get("Item", {}))

    def logged(self) -> list[str]:
        """Messages of the instance's stream in the boot's log group."""
        logs = boto3.client("logs")
        if not logs.describe_log_streams(logGroupName=self.boot_log_group)["logStreams"]:
            return []
        events = logs.get_log_events(logGroupName=self.boot_log_group, logStreamName=self.instance_id)["events"]
        return [event["message"] for event in events]

    def upload(self, folder: Path) -> None:
        """The wheelhouse into the bucket."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"wheelhouse/{path.relative_to(folder)}"
                boto3.client("s3").upload_file(str(path), f"{self.group}-wheels", key)


class Machine:
    """One instance; `boot` runs its user data under bash and returns when that has ended."""

    def __init__(self, root: Path, account: Account, environment: Mapping[str, str]) -> None:
        self.root, self.account = root, account
        self.plans, self._calls = root.parent / f"{root.name}-plans", root.parent / f"{root.name}-calls"
        self.plans.mkdir()
        self._calls.touch()
        self._environment = dict(environment) | {
            "CALLS": str(self._calls),
            "PLANS": str(self.plans),
            "ROOT": str(root),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._put("usr/bin", "aws")
        self._put("opt/pytorch/bin", "python")
        (root / "usr/bin/python3").symlink_to(shutil.which("python3") or sys.executable)
        self._path = root.parent / f"{root.name}-bin"
        self._path.mkdir()
        for name in ("mount", "systemctl", "dnf", "setpriv", "aws", "record.sh", "recorded"):
            shutil.copy(STAND_INS / name, self._path / name)
        for name in ("shutdown", "chown", "pip"):
            shutil.copy(STAND_INS / "recorded", self._path / name)
        (root / "etc").mkdir()
        (root / "etc/fstab").write_text("UUID=1 / xfs defaults 0 0\n")
        self.write("var/lib/cloud/data/instance-id", account.instance_id + "\n")

    def _put(self, folder: str, name: str, source: str | None = None) -> None:
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(STAND_INS / (source or name), self.root / folder / name)
        shutil.copy(STAND_INS / "record.sh", self.root / folder / "record.sh")

    def write(self, path: str, text: str) -> None:
        """A file of the instance."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def read(self, path: str) -> str:
        """A file of the instance."""
        return (self.root / path).read_text()

    def make_golden(self, content_hash: str = WHEELHOUSE_HASH) -> None:
        """What the bake leaves: packages, and the marker."""
        self.write("sbin/mount.efs", "")
        self.write("usr/sbin/logrotate", "")
        self._put(AGENT_DIR, "amazon-cloudwatch-agent-ctl", "recorded")
        self.write("opt/receipt-trainer/image.json", json.dumps({"wheelhouse": content_hash, "python": "3.12"}))

    def calls(self, name: str) -> list[str]:
        """Arguments of the calls of one program, as the shell would quote them."""
        lines = [line.partition(" ") for line in self._calls.read_text().splitlines()]
        return [arguments for called, _, arguments in lines if called == name]

    def boot(self, *, imds_url: str | None = None, **changes: Any) -> subprocess.CompletedProcess[str]:
        """Run the user data, with deadlines of a second or none."""
        account = self.account
        quick = {
            "mount_deadline_s": 0,
            "imds_deadline_s": 0,
            "install_deadline_s": 0,
            "retry_first_s": 0,
            "settle_s": 0,
            "log_flush_s": 0,
        }
        boot = boot_env(
            **quick
            | {
                "wheels_bucket": f"{account.group}-wheels",
                "auto_scaling_group": account.group,
                "instances_table": account.table,
                "boot_log_group": account.boot_log_group,
            }
            | changes
        )
        script = self.root.parent / f"{self.root.name}-user-data"
        script.write_text(render_user_data(boot, worker_env(jobs_table="jobs $(id) \"'\\ %n")))
        with ImdsStandIn(account.instance_id) as imds:
            environment = self._environment | {
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds_url or imds.url,
                "PATH": f"{self._path}:{os.environ['PATH']}",
            }
            return subprocess.run(
                ["/bin/bash", script], env=environment, capture_output=True, text=True, timeout=120, check=False
            )

    def run_failed_unit(self) -> subprocess.CompletedProcess[str]:
        """What receipt-worker-failed.service would run, by its own ExecStart."""
        unit = self.read("etc/systemd/system/receipt-worker-failed.service")
        command = next(line for line in unit.splitlines() if line.startswith("ExecStart=")).partition("=")[2].split()
        command[1] = f"{self.root}{command[1]}"
        environment = self._environment | {"PATH": f"{self._path}:{os.environ['PATH']}"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def upload_wheelhouse(account: Account, folder: Path, *, build: str = "first") -> None:
    """A good wheelhouse, in the account's bucket."""
    make_wheelhouse(folder, WHEELHOUSE_HASH, build=build)
    account.upload(folder)
