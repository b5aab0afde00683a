"""The Auto Scaling groups of the pools: what they are, their bounds set, their instances ended, and asked for.

The scaling is theirs: with these calls made, nothing has to run on a laptop. Jobs that wait get their instances at
once: a group is asked for one a job, and never for fewer than it has. The pool's alarm does the same from the queues'
metrics, which a queue that has rested begins to send up to 15 minutes late. It adds nothing to what was asked for here:
an instance that warms up is not yet part of the capacity that a step is added to, and what is desired already covers
the step. Sources: EC2 Auto Scaling API Reference, UpdateAutoScalingGroup and TerminateInstanceInAutoScalingGroup; SQS
Developer Guide, "Available CloudWatch metrics for Amazon SQS"; EC2 Auto Scaling User Guide, "Step and simple scaling
policies", "How step scaling policies work".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from receipt_trainer.aws.clients import aws_faults, error_code
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.rows import Wanted, find

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
    """An Auto Scaling group. A suspended `Launch` means that it launches nothing, regardless of its bounds."""

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
    """The groups by name; UserError if one is not there."""
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
        members=tuple(
            Member(
                one["InstanceId"],
                one["LifecycleState"],
                one.get("AvailabilityZone", ""),
                one.get("InstanceType", ""),
                bool(one.get("ProtectedFromScaleIn")),
            )
            for one in raw.get("Instances") or ()
        ),
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


def set_bounds(client: AutoScalingClient, group: Group, minimum: int, maximum: int) -> None:
    """Set both; the group itself moves its desired capacity as far as it must.

    What it desires is not set: an alarm, or a worker that ended, may have moved it since `group` was read.
    With fewer desired than there are, the group ends instances that are not protected; a worker with a job is.
    """
    with aws_faults(f"set the bounds of {group.name}"):
        client.update_auto_scaling_group(AutoScalingGroupName=group.name, MinSize=minimum, MaxSize=maximum)


def set_all_bounds(client: AutoScalingClient, wanted: Mapping[Group, tuple[int, int]]) -> dict[str, str]:
    """Set the bounds of every group that lets them be set; the faults of the others, by their names."""
    faults = {}
    for group, bounds in wanted.items():
        try:
            set_bounds(client, group, *bounds)
        except (UserError, WorldError) as error:
            faults[group.name] = str(error)
    return faults


def end_members(client: AutoScalingClient, group: Group) -> tuple[list[str], dict[str, str]]:
    """End every instance of a group whose bounds are 0, so that none is launched in its place.

    Each passes the group's lifecycle hook: its worker sees that, saves a checkpoint and gives its job back. One that
    has left the group in the meantime is done already. Returns ids of those that are being ended, and the reasons of
    those that could not be, by their ids.
    """
    ended, left = [], {}
    for one in group.members:
        if one.state in ENDABLE:
            try:
                with aws_faults(f"end {one.instance_id}"):
                    client.terminate_instance_in_auto_scaling_group(
                        InstanceId=one.instance_id, ShouldDecrementDesiredCapacity=False
                    )
            except (UserError, WorldError) as error:
                cause = error.__cause__
                if error_code(cause) != "ValidationError" or "not found" not in str(cause).lower():  # no member
                    left[one.instance_id] = str(error)
            else:
                ended.append(one.instance_id)
    return ended, left


ROUNDS: Final = 3
"""Settings at most. The capacity is set without a condition: of two who set it at once, the one whose number
was too small sees the other's job in the next round, and mends it."""
_UNFINISHED: Final = ("PENDING", "INTERRUPTED", "CLAIMED", "RUNNING")
"""In the order in which a job passes them: one that moves on while they are read is seen at least once."""

Kind = Literal["raised", "enough", "full", "stopped", "suspended"]


@dataclass(frozen=True, slots=True)
class Launch:
    """The result of a request for instances: desired capacity before and after, and jobs counted up to the maximum.

    Attributes:
        kind: "raised": more are asked for; "enough": as many as there are jobs were; "full": the group's maximum was;
            "stopped": the maximum is 0; "suspended": it launches nothing.
    """

    kind: Kind
    group: str
    before: int
    after: int
    maximum: int
    num_jobs: int


def launch_for_jobs(client: AutoScalingClient, table: Table, pool: str, group: str, new: Collection[str]) -> Launch:
    """Raise the group's desired capacity to the number of the pool's jobs, at most to its maximum; never lower it.

    `new` are ids of jobs that were just queued; an index may not have them yet.
    """
    now = read_groups(client, [group])[group]
    before, num_jobs = now.desired, 0
    for _ in range(ROUNDS):
        if now.maximum == 0 or now.is_suspended:
            blocked: Kind = "stopped" if now.maximum == 0 else "suspended"
            return Launch(blocked, group, before, now.desired, now.maximum, num_jobs)
        if now.desired < now.maximum:
            num_jobs = _count(table, pool, new, now.maximum)
        if now.desired >= min(num_jobs, now.maximum):
            break
        with aws_faults(f"ask {group} for {num_jobs} instances"):
            client.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=num_jobs, HonorCooldown=False)
        now = read_groups(client, [group])[group]
    if now.desired > before:
        kind: Kind = "raised"
    else:
        kind = "full" if now.desired >= now.maximum else "enough"
    return Launch(kind, group, before, now.desired, now.maximum, num_jobs)


def _count(table: Table, pool: str, new: Collection[str], most: int) -> int:
    """Jobs of the pool that a worker has or may take now, `most` at most: more are not read."""
    found, now = set(new), utc_now()
    for status in _UNFINISHED:
        if len(found) >= most:
            break
        rows = find(table, Wanted(status=status, pool=pool, due_at=now), most)
        found |= {str(row["job_id"]) for row in rows}
    return min(len(found), most)
