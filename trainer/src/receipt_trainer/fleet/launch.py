"""Instances for jobs that wait, at once: a group is asked for one a job, and never for fewer than it has.

The pool's alarm does the same from the queues' metrics, which a queue that has rested begins to send up to 15 minutes
late. It adds nothing to what was asked for here: an instance that warms up is not yet part of the capacity that a step
is added to, and what is desired already covers the step. Sources: SQS Developer Guide, "Available CloudWatch metrics
for Amazon SQS"; EC2 Auto Scaling User Guide, "Step and simple scaling policies", "How step scaling policies work".
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.fleet.groups import Group, read_groups
from receipt_trainer.jobs.find import Wanted, find

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.client import AutoScalingClient
    from mypy_boto3_dynamodb.client import DynamoDBClient

ROUNDS: Final = 3
"""Settings at most. The capacity is set without a condition: of two who set it at once, the one whose number
was too small sees the other's job in the next round, and mends it."""
_UNFINISHED: Final = ("PENDING", "INTERRUPTED", "CLAIMED", "RUNNING")
"""In the order in which a job passes them: one that moves on while they are read is seen at least once."""

Kind = Literal["raised", "enough", "full", "stopped", "suspended"]


@dataclass(frozen=True, slots=True)
class Launch:
    """What became of the wish for instances.

    Attributes:
        kind: "raised": more are asked for; "enough": as many as there are jobs were; "full": the group's maximum was;
            "stopped": the maximum is 0; "suspended": it launches nothing.
        before, after: desired capacity.
        num_jobs: jobs that wait for a worker or are trained, counted up to the maximum; 0 where nobody counted.
    """

    kind: Kind
    group: str
    before: int
    after: int
    maximum: int
    num_jobs: int


def launch_for_jobs(
    client: AutoScalingClient, dynamodb: DynamoDBClient, table: str, pool: str, group: str, new: Collection[str]
) -> Launch:
    """Raise the group's desired capacity to the number of the pool's jobs, at most to its maximum; never lower it.

    Args:
        pool: whose jobs count.
        new: ids of jobs that were just queued; an index may not have them yet.

    Raises:
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """
    now = read_groups(client, [group])[group]
    before, num_jobs = now.desired, 0
    for _ in range(ROUNDS):
        if (blocked := _blocked(now)) is not None:
            return Launch(blocked, group, before, now.desired, now.maximum, num_jobs)
        if now.desired < now.maximum:
            num_jobs = _count(dynamodb, table, pool, new, now.maximum)
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


def _blocked(group: Group) -> Literal["stopped", "suspended"] | None:
    if group.maximum == 0:
        return "stopped"
    return "suspended" if group.is_suspended else None


def _count(client: DynamoDBClient, table: str, pool: str, new: Collection[str], most: int) -> int:
    """Jobs of the pool that a worker has or may take now, `most` at most: more are not read."""
    found, now = set(new), utc_now()
    for status in _UNFINISHED:
        if len(found) >= most:
            break
        rows = find(client, table, Wanted(status=status, pool=pool, due_at=now), most)
        found |= {str(row["job_id"]) for row in rows}
    return min(len(found), most)
