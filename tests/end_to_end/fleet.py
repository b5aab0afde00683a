"""Plays EC2 for the embedded AWS: each instance that a group launches there becomes a worker process of this machine.

The worker gets exactly the worker.env of its launch template's user data, and a metadata service that says which
instance it is. An experiment of fault injection that names the instance becomes a spot notice there.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from receipt_trainer.contract import names
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.imds import ImdsStandIn
from receipt_trainer.local.session import aws_cli
from tests.contract.systemd_reader import read_like_systemd
from tests.end_to_end.interrupting import ACTION
from tests.fork_server import Forked, Program
from tests.strikes import strike

ROOT: Final = Path(__file__).parents[2]
MOUNT: Final = "/dev/shm"  # noqa: S108 - a mounted file system, as a worker of a group wants for its checkpoints
HOLD_AT: Final = 30
"""The loss at which the first training process waits for its notice: behind some checkpoints, before the end."""
LOOK_S: Final = 0.25
END_S: Final = 60.0


@dataclass
class _Machine:
    process: Forked
    imds: ImdsStandIn


class Fleet:
    """A context manager; nothing that it started outlives it."""

    def __init__(self, cloud: LocalCloud, folder: Path, command: Sequence[str]) -> None:
        """Name what all workers share.

        Args:
            folder: for their logs.
            command: what stands for the training command; see `tests.processes`.
        """
        self._cloud, self._folder, self._command = cloud, folder, command
        self._machines: dict[str, _Machine] = {}
        self._notified: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fleet", daemon=True)
        self.fault: Exception | None = None
        self._shared = tempfile.TemporaryDirectory(dir=MOUNT, prefix="end-to-end-")
        self._held = folder / "held"

    @property
    def ids(self) -> list[str]:
        """Every instance there was, in order."""
        return list(self._machines)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self._scale()
                self._launch()
                if self._held.exists():
                    self._interrupt()
                self.fault = None
            except Exception as error:  # a stack that is destroyed between two looks; for the test, if it lasts
                self.fault = error

    def _scale(self) -> None:
        """As the alarm does that sees jobs wait, where a group rests at none."""
        sqs, autoscaling = self._cloud.client("sqs"), self._cloud.client("autoscaling")
        for url in sqs.list_queues(QueueNamePrefix="jobs-").get("QueueUrls", []):
            attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
            if int(attributes["Attributes"]["ApproximateNumberOfMessages"]):
                for group in autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]:
                    if group["DesiredCapacity"] == 0:
                        autoscaling.set_desired_capacity(
                            AutoScalingGroupName=group["AutoScalingGroupName"], DesiredCapacity=1
                        )

    def _launch(self) -> None:
        for group in self._cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]:
            for one in group["Instances"]:
                if one["InstanceId"] not in self._machines and not self._ended.is_set():
                    self._machines[one["InstanceId"]] = self._start(one)

    def _start(self, instance: dict[str, Any]) -> _Machine:
        instance_id, zone = instance["InstanceId"], instance["AvailabilityZone"]
        imds = ImdsStandIn(instance_id, instance_type=instance["InstanceType"], zone=zone).__enter__()
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self._folder), "PYTHONPATH": str(ROOT)}
        environment |= self._worker_env(instance["LaunchTemplate"]["LaunchTemplateId"])
        # What a machine of Amazon's has, and this one has elsewhere.
        without_metadata = {"AWS_EC2_METADATA_DISABLED": ""}
        ours = {
            name: value
            for name, value in self._cloud.environment().items()
            if name.startswith("AWS_") and "REGION" not in name
        }
        environment |= ours | without_metadata | {names.ENV_AWS_CLI: aws_cli(), names.ENV_IMDS: imds.url}
        environment |= {"NO_PROXY": "*", "no_proxy": "*", names.ENV_CHECKPOINTS_DIR: self._shared.name}
        if not self._machines:
            environment |= strike("hold", HOLD_AT, file=self._held)
        log = self._folder / f"worker-{len(self._machines) + 1}.log"
        options = json.dumps({"command": self._command, "chaos": True})
        program = Program("start-worker")
        process = program.start([options, "--idle-timeout", "1"], log, environment, inherits=False)
        return _Machine(process, imds)

    def _worker_env(self, template: str) -> dict[str, str]:
        found = self._cloud.client("ec2").describe_launch_template_versions(LaunchTemplateId=template)
        text = base64.b64decode(found["LaunchTemplateVersions"][-1]["LaunchTemplateData"]["UserData"]).decode()
        [packed] = re.findall(r"^put worker\.env <<'(END_*)'\n(.*?)^\1$", text, flags=re.M | re.S)
        return read_like_systemd(packed[1])

    def _interrupt(self) -> None:
        fis = self._cloud.client("fis")
        for listed in fis.list_experiments()["experiments"]:
            experiment = fis.get_experiment(id=listed["id"])["experiment"]
            if {action["actionId"] for action in experiment["actions"].values()} != {ACTION}:
                continue
            for target in experiment["targets"].values():
                for arn in target["resourceArns"]:
                    instance_id = arn.rpartition("/")[2]
                    if instance_id not in self._notified:
                        self._notified.add(instance_id)
                        self._machines[instance_id].imds.interrupt("spot")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(END_S)
        for machine in self._machines.values():
            machine.process.__exit__(None, None, None)
            machine.imds.__exit__(None, None, None)
        self._shared.cleanup()
