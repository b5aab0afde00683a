"""The Auto Scaling groups of the pools: what they are, their bounds set, their instances ended.

The scaling is theirs: with these calls made, nothing has to run on a laptop. Sources: EC2 Auto Scaling API Reference,
UpdateAutoScalingGroup and TerminateInstanceInAutoScalingGroup.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.client import AutoScalingClient

ENDABLE: Final = ("Pending", "InService")
DEFAULT_MAX: Final = 1
"""Maximum with which a pool that rests at 0 is started, if none is given."""


@dataclass(frozen=True, slots=True)
class Member:
    """An instance of a group; `state` is the group's, such as InService or Terminating:Wait."""

    instance_id: str
    state: str
    zone: str
    instance_type: str
    is_protected: bool


@dataclass(frozen=True, slots=True)
class Group:
    """An Auto Scaling group. A suspended `Launch` means that it launches nothing, whatever its bounds say."""

    name: str
    minimum: int
    desired: int
    maximum: int
    zones: tuple[str, ...]
    suspended: tuple[str, ...]
    members: tuple[Member, ...]

    @property
    def is_suspended(self) -> bool:
        """Whether launches are suspended, as they are after some failed boots in a row."""
        return "Launch" in self.suspended


def read_groups(client: AutoScalingClient, names: Sequence[str]) -> dict[str, Group]:
    """The groups by name.

    Raises:
        UserError: one is not there.
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """
    found: dict[str, Group] = {}
    with aws_faults("read the Auto Scaling groups"):
        pages = client.get_paginator("describe_auto_scaling_groups").paginate(AutoScalingGroupNames=list(names))
        for page in pages:
            found |= {raw["AutoScalingGroupName"]: _group(raw) for raw in page["AutoScalingGroups"]}
    for name in names:
        if name not in found:
            raise UserError(f"there is no Auto Scaling group '{name}' in this account and region; is the stack up?")
    return found


def _group(raw: Mapping[str, Any]) -> Group:
    return Group(
        name=raw["AutoScalingGroupName"],
        minimum=raw["MinSize"],
        desired=raw["DesiredCapacity"],
        maximum=raw["MaxSize"],
        zones=tuple(sorted(raw.get("AvailabilityZones") or ())),
        suspended=tuple(sorted(one["ProcessName"] for one in raw.get("SuspendedProcesses") or ())),
        members=tuple(_members(raw.get("Instances") or ())),
    )


def _members(raw: Iterable[Mapping[str, Any]]) -> Iterable[Member]:
    for one in raw:
        yield Member(
            one["InstanceId"],
            one["LifecycleState"],
            one.get("AvailabilityZone", ""),
            one.get("InstanceType", ""),
            bool(one.get("ProtectedFromScaleIn")),
        )


def bounds_for_start(group: Group, pool: str, minimum: int | None, maximum: int | None) -> tuple[int, int]:
    """Minimum and maximum to start a pool with: the given ones, else those in force, 1 for a maximum of 0.

    Raises:
        UserError: the minimum is above the maximum, or the maximum is 0, which would start nothing.
    """
    most = maximum if maximum is not None else max(group.maximum, minimum or 0) or DEFAULT_MAX
    least = minimum if minimum is not None else group.minimum
    if most == 0:
        raise UserError("--max-instances 0 starts nothing; use --stop, or give 1 or more")
    if least > most:
        source = "" if minimum is not None else f" (the minimum of pool {pool} in force)"
        raise UserError(
            f"--min-instances {least}{source} is above --max-instances {most}; lower one or raise the other"
        )
    return least, most


def set_bounds(client: AutoScalingClient, group: Group, minimum: int, maximum: int) -> int:
    """Set both; the desired capacity follows as far as it must, and is returned.

    With fewer desired than there are, the group ends instances that are not protected; a worker with a job is.

    Raises:
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """
    desired = min(max(group.desired, minimum), maximum)
    with aws_faults(f"set the bounds of {group.name}"):
        client.update_auto_scaling_group(
            AutoScalingGroupName=group.name, MinSize=minimum, MaxSize=maximum, DesiredCapacity=desired
        )
    return desired


def end_members(client: AutoScalingClient, group: Group) -> list[str]:
    """End every instance of a group whose bounds are 0, so that none is launched in its place; their ids.

    Each passes the group's lifecycle hook: its worker sees that, saves a checkpoint and gives its job back.

    Raises:
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`; some may have been ended.
    """
    ended = []
    for one in group.members:
        if one.state in ENDABLE:
            with aws_faults(f"end {one.instance_id}"):
                client.terminate_instance_in_auto_scaling_group(
                    InstanceId=one.instance_id, ShouldDecrementDesiredCapacity=False
                )
            ended.append(one.instance_id)
    return ended
