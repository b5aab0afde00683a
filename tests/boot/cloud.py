"""The account: the program's own stack on the embedded AWS, and instances that its groups launch."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from receipt_trainer.contract.outputs import PoolName, StackOutputs
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.imds import ImdsStandIn
from receipt_trainer.local.resources import provision
from tests.boot.instance import Instance
from tests.boot.network import IMDS_ADDRESS, hosts
from tests.boot.rootfs import PYTHON

REPOSITORY = Path(__file__).resolve().parents[2]
POOL: PoolName = "cpu"
CA_BUNDLE = "etc/ssl/aws-stand-in.pem"
ENVIRONMENT = {"AWS_CA_BUNDLE": f"/{CA_BUNDLE}"}
"""What a machine here has and one of EC2 has not: it believes one more certificate."""
CONFIG: Mapping[str, Any] = {
    "receipt-trainer:wheelhouse": {"python_versions": [PYTHON]},
    "receipt-trainer:golden_ami": {"enabled": True},
}


def user_data_of(cloud: LocalCloud, outputs: StackOutputs) -> str:
    """The user data in the newest version of the pool's launch template."""
    template = outputs.pools[POOL].launch_template_id
    found = cloud.client("ec2").describe_launch_template_versions(LaunchTemplateId=template, Versions=["$Latest"])
    return base64.b64decode(found["LaunchTemplateVersions"][0]["LaunchTemplateData"]["UserData"]).decode()


def with_values(user_data: str, **values: object) -> str:
    """The user data with other values of boot.env, such as settle_s=5.

    Raises:
        ValueError: it has no such value.
    """
    for name, value in values.items():
        user_data, found = re.subn(rf"(?m)^{name.upper()}=.*$", f"{name.upper()}={value}", user_data)
        if found != 1:
            raise ValueError(f"{name}: {found} times in boot.env")
    return user_data


@dataclass
class Account:
    """A stack that stands, and what is needed to launch an instance of it.

    Attributes:
        component: the document by which Image Builder bakes.
        certificate: see `network.TlsFront`.
        binds: see `Instance`; /srv/efs is the file system, which all instances share.
    """

    cloud: LocalCloud
    outputs: StackOutputs
    component: str
    certificate: Path
    binds: Mapping[str, Path]
    folder: Path
    _services: list[ImdsStandIn] = field(default_factory=list)
    _instances: list[Instance] = field(default_factory=list)

    @classmethod
    def stand(cls, cloud: LocalCloud, certificate: Path, binds: Mapping[str, Path], folder: Path) -> Account:
        """Run the program and create its stack, with the real wheels in its bucket."""
        deployment = provision(REPOSITORY, cloud, overrides=CONFIG, with_wheels=True)
        (component,) = (one for one in deployment.registered if one.type.endswith(":Component"))
        (folder / "efs").mkdir(parents=True)
        binds = {**binds, "/srv/efs": folder / "efs"}
        return cls(cloud, deployment.outputs, component.inputs["data"], certificate, binds, folder)

    @property
    def group(self) -> str:
        """Name of the pool's Auto Scaling group."""
        return self.outputs.pools[POOL].auto_scaling_group

    def describe_group(self) -> dict[str, Any]:
        """The group as AWS describes it."""
        found = self.cloud.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[self.group])
        return dict(found["AutoScalingGroups"][0])

    def members(self) -> set[str]:
        """Ids of the group's instances."""
        return {one["InstanceId"] for one in self.describe_group()["Instances"]}

    def item(self, pk: str, sk: str) -> dict[str, Any]:
        """An item of the instances table, its values without their types; {} if it is not there."""
        key = {"PK": {"S": pk}, "SK": {"S": sk}}
        table = self.outputs.instances_table
        found = self.cloud.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True)
        return {name: next(iter(value.values())) for name, value in found.get("Item", {}).items()}

    def launch(self, layers: list[Path], user_data: str, *, disk: str | None = None) -> tuple[Instance, ImdsStandIn]:
        """An instance that is off, of the group, with its metadata service; the one before it must be off.

        It is the one that the group has launched in the place of another, or the group is told to launch one more.
        """
        if not (waiting := self.members() - {one.folder.name for one in self._instances}):
            wanted = len(self.members()) + 1
            group = self.cloud.client("autoscaling")
            group.set_desired_capacity(AutoScalingGroupName=self.group, DesiredCapacity=wanted)
            waiting = self.members() - {one.folder.name for one in self._instances}
        instance_id = waiting.pop()
        instance, service = self.machine(instance_id, layers, disk=disk)
        seed = "var/lib/cloud/seed/nocloud"
        instance.write(f"{seed}/meta-data", json.dumps({"instance-id": instance_id}))
        instance.write(f"{seed}/user-data", user_data)
        return instance, service

    def machine(self, name: str, layers: list[Path], *, disk: str | None = None) -> tuple[Instance, ImdsStandIn]:
        """A machine that is off, in nobody's group, with its metadata service; the one before it must be off."""
        for service in self._services:
            service.__exit__(None, None, None)
        service = ImdsStandIn(name, instance_type="c7i.xlarge", role="worker", host=IMDS_ADDRESS, port=80)
        self._services = [service.__enter__()]
        instance = Instance(self.folder / name, layers, self.binds, environment=ENVIRONMENT, disk=disk)
        self._instances.append(instance)
        instance.write(CA_BUNDLE, self.certificate.read_text())
        instance.write("etc/hosts", hosts([self.outputs.wheels_bucket, self.outputs.artifacts_bucket]))
        return instance, service

    def words(self) -> str:
        """The ends of the logs of the newest machine; "" before there was one."""
        return self._instances[-1].words() if self._instances else ""

    def close(self) -> None:
        """Take all instances away."""
        for instance in self._instances:
            instance.remove()
        for service in self._services:
            service.__exit__(None, None, None)
