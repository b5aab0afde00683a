"""A pool's group and the instances table on the embedded AWS, with real workers' rows."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import ModuleType
from typing import Any
from uuid import uuid4

from infra.watch.silent_instances import HANDLER
from receipt_trainer.aws import dynamo
from receipt_trainer.aws.autoscaling import GroupMember
from receipt_trainer.contract import liveness, metrics
from receipt_trainer.contract.tables import INSTANCES
from receipt_trainer.worker.registry import InstanceRegistry, WorkerMachine


def load_handler() -> ModuleType:
    """The function's entry file, as Lambda imports it."""
    spec = importlib.util.spec_from_file_location("silent_instances_handler", HANDLER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@dataclass
class PoolCloud:
    """One group of protected instances; `make` it before and `drop` it after a test."""

    client: Callable[[str], Any]
    name: str = field(default_factory=lambda: f"workers-{uuid4().hex[:8]}")

    @property
    def table(self) -> str:
        """Name of the instances table."""
        return f"instances-of-{self.name}"

    def make(self, num_instances: int) -> list[str]:
        """Table, group and instances; the ids of these."""
        self.client("dynamodb").create_table(**INSTANCES.create_arguments(self.table))
        ec2, group = self.client("ec2"), self.client("autoscaling")
        template = {"ImageId": "ami-12c6146b", "InstanceType": "g6.xlarge"}  # an image that moto knows
        ec2.create_launch_template(LaunchTemplateName=self.name, LaunchTemplateData=template)
        subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        group.create_auto_scaling_group(
            AutoScalingGroupName=self.name,
            MinSize=0,
            MaxSize=9,
            DesiredCapacity=num_instances,
            VPCZoneIdentifier=subnet,
            LaunchTemplate={"LaunchTemplateName": self.name, "Version": "1"},
            NewInstancesProtectedFromScaleIn=True,
        )
        return self.instances()

    def drop(self) -> None:
        """Leave nothing."""
        self.client("autoscaling").delete_auto_scaling_group(AutoScalingGroupName=self.name, ForceDelete=True)
        self.client("ec2").delete_launch_template(LaunchTemplateName=self.name)
        self.client("dynamodb").delete_table(TableName=self.table)

    def group(self) -> dict[str, Any]:
        """What Auto Scaling says of the group."""
        found = self.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])
        answer: dict[str, Any] = found["AutoScalingGroups"][0]
        return answer

    def instances(self) -> list[str]:
        """Ids of the instances in the group."""
        return [one["InstanceId"] for one in self.group()["Instances"]]

    def is_up(self, instance_id: str) -> bool:
        """Whether EC2 runs it."""
        found = self.client("ec2").describe_instances(InstanceIds=[instance_id])
        return bool(found["Reservations"][0]["Instances"][0]["State"]["Name"] == "running")

    def launched_at(self, instance_id: str) -> datetime:
        """When EC2 says that it was launched."""
        found = self.client("ec2").describe_instances(InstanceIds=[instance_id])
        at: datetime = found["Reservations"][0]["Instances"][0]["LaunchTime"]
        return at

    def beat(self, instance_id: str, at: datetime, *, training: bool = True) -> None:
        """A heartbeat of the real worker's registry, with the worker's clock at `at`."""
        machine = WorkerMachine(f"{instance_id}-w", "gpu", instance_id, "g6.xlarge", "us-east-1a", "spot", 0.3)
        registry = InstanceRegistry(self.client("dynamodb"), self.table, machine, clock=lambda: at)
        if training:
            GroupMember(self.client("autoscaling"), self.name, instance_id).protect(True)
            registry.running("a-job", 1)
        else:
            registry.register()

    def row(self, instance_id: str) -> dict[str, Any]:
        """The row of an instance; empty if there is none."""
        key = {"PK": f"INSTANCE#{instance_id}", "SK": "INSTANCE"}
        return self._item(key)

    def num_boot_failures(self) -> int:
        """As the boot scripts count them."""
        return int(self._item({"PK": "POOL#gpu", "SK": "BOOT_FAILURES"}).get("num_failures", 0))

    def _item(self, key: dict[str, str]) -> dict[str, Any]:
        found = self.client("dynamodb").get_item(TableName=self.table, Key=dynamo.serialise(key), ConsistentRead=True)
        return dynamo.deserialise(found.get("Item", {}))

    def rules(self, handler: ModuleType, **changes: Any) -> Any:
        """The stack's rules for this pool."""
        given = {
            "table": self.table,
            "environment": self.name,
            "groups": {"gpu": self.name},
            "heartbeat_limit_s": liveness.HEARTBEAT_LIMIT_S,
            "boot_limit_s": liveness.BOOT_LIMIT_S,
            "second_look_s": liveness.SECOND_LOOK_S,
            "max_boot_failures": 3,
            "namespace": metrics.NAMESPACE,
            "metric": metrics.SILENT_INSTANCES,
        }
        return handler.SilenceRules(**given | changes)
