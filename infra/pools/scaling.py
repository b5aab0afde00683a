"""Scale-out from zero on backlog. There is no scale-in here: a worker ends its own instance when idle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext
from receipt_trainer.contract.outputs import PRIORITIES, PoolName, Priority

PERIOD_S: Final = 60
EVALUATION_PERIODS: Final = 5
"""Minutes of which one must be short of instances. SQS's newest minutes arrive late, and FILL makes zeros of them: an
alarm that looked at the newest minute alone would never fire (CloudWatch User Guide, "Using metric math", FILL)."""
WARMUP_S: Final = 360
"""For so long a step is not taken twice: the minutes before a launch are looked at for `EVALUATION_PERIODS` more."""
BACKLOG_METRICS: Final = {
    "waiting": "ApproximateNumberOfMessagesVisible",
    "taken": "ApproximateNumberOfMessagesNotVisible",
}


@dataclass(frozen=True)
class BacklogScalingArgs:
    """Scale-out of one pool.

    Attributes:
        pool: name of the pool.
        max_instances: no step is larger.
        group_name: name of the Auto Scaling group.
        queue_names: name of the job queue of each priority.
    """

    context: AwsContext
    pool: PoolName
    max_instances: int
    group_name: pulumi.Input[str]
    queue_names: Mapping[Priority, pulumi.Input[str]]


def steps(max_instances: int) -> list[tuple[int, int | None, int]]:
    """(lower bound, upper bound or None, instances to add) by the number of jobs without an instance.

    1 for 1 job, 2 for 2 or 3, 4 for 4 to 7, ...: never more instances than jobs, and the rest follows after the
    warm-up. AWS reads bounds as [lower, upper) above the threshold, and caps at the group's maximum.
    """
    sizes = [1]
    while sizes[-1] * 2 <= max_instances:
        sizes.append(sizes[-1] * 2)
    lowers = [0, *sizes[1:]]
    return list(zip(lowers, [*lowers[1:], None], sizes, strict=True))


class BacklogScaling(pulumi.ComponentResource):
    """Adds instances while there are more jobs, waiting or in an instance's hands, than instances asked for.

    SQS sends no metrics for a queue that was not used for six hours, and needs up to 15 minutes to start again
    (SQS Developer Guide, "CloudWatch metrics for Amazon SQS"): submitting a job asks for its instance at once, and
    this one launches for all other jobs. An instance that was asked for warms up as any other does, so a step
    for the minute before its launch adds nothing.
    """

    def __init__(self, name: str, args: BacklogScalingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:BacklogScaling", name, None, opts)
        policy = aws.autoscaling.Policy(
            f"{name}-out",
            autoscaling_group_name=args.group_name,
            policy_type="StepScaling",
            adjustment_type="ChangeInCapacity",
            estimated_instance_warmup=WARMUP_S,
            # Of the minutes looked at; any other would mix in those that have not arrived.
            metric_aggregation_type="Maximum",
            step_adjustments=[
                aws.autoscaling.PolicyStepAdjustmentArgs(
                    metric_interval_lower_bound=str(lower),
                    metric_interval_upper_bound=None if upper is None else str(upper),
                    scaling_adjustment=size,
                )
                for lower, upper, size in steps(args.max_instances)
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
        alarm = aws.cloudwatch.MetricAlarm(
            f"{name}-backlog",
            alarm_description=(
                f"{args.context.prefix}: the {args.pool} pool has more jobs than instances. It adds instances by "
                "itself; nothing to do."
            ),
            comparison_operator="GreaterThanThreshold",
            threshold=0,
            evaluation_periods=EVALUATION_PERIODS,
            datapoints_to_alarm=1,
            # Silent queues are idle queues.
            treat_missing_data="notBreaching",
            metric_queries=backlog_queries(args),
            alarm_actions=[policy.arn],
            tags=args.context.tags_for(f"backlog-{args.pool}", Pool=args.pool),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"alarm_arn": alarm.arn})


def backlog_queries(args: BacklogScalingArgs) -> list[aws.cloudwatch.MetricAlarmMetricQueryArgs]:
    """Messages of both queues, waiting or taken, less the instances asked for.

    An instance takes one message. What is taken beyond that is no instance's: it is hidden for hours until a run is to
    be delivered once more, or a worker elsewhere has it.

    FILL stands in for a minute that is not there yet, but not for a metric without any data: hence SUM over the
    queues that have some, so that a silent queue does not hide the other. The desired capacity repeats its last
    value: a zero in its place would launch an instance for every job that already has one.
    """
    queries = []
    for short, metric in BACKLOG_METRICS.items():
        for priority in PRIORITIES:
            queries.append(_metric(f"{short}_{priority}", "AWS/SQS", metric, {"QueueName": args.queue_names[priority]}))
        filled = ", ".join(f"FILL({short}_{priority}, 0)" for priority in PRIORITIES)
        queries.append(_expression(short, f"SUM([{filled}])"))
    group = {"AutoScalingGroupName": args.group_name}
    queries.append(_metric("desired", "AWS/AutoScaling", "GroupDesiredCapacity", group))
    queries.append(_expression("instances", "FILL(desired, REPEAT)"))
    missing = aws.cloudwatch.MetricAlarmMetricQueryArgs(
        id="missing",
        expression="waiting + MIN([taken, instances]) - instances",
        label="Jobs without an instance",
        return_data=True,
    )
    return [missing, *queries]


def _expression(query_id: str, expression: str) -> aws.cloudwatch.MetricAlarmMetricQueryArgs:
    return aws.cloudwatch.MetricAlarmMetricQueryArgs(id=query_id, expression=expression, return_data=False)


def _metric(
    query_id: str, namespace: str, metric: str, dimensions: Mapping[str, pulumi.Input[str]]
) -> aws.cloudwatch.MetricAlarmMetricQueryArgs:
    return aws.cloudwatch.MetricAlarmMetricQueryArgs(
        id=query_id,
        return_data=False,
        metric=aws.cloudwatch.MetricAlarmMetricQueryMetricArgs(
            namespace=namespace, metric_name=metric, dimensions=dict(dimensions), period=PERIOD_S, stat="Maximum"
        ),
    )
