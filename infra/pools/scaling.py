"""Scale-out from zero on backlog. There is no scale-in here: a worker ends its own instance when idle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component
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
    """One pool, its Auto Scaling group, and its job queue of each priority; no step is larger than `max_instances`."""

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


class BacklogScaling(Component[BacklogScalingArgs]):
    """Adds instances while there are more jobs, waiting or in an instance's hands, than instances asked for.

    SQS sends no metrics for a queue that was not used for six hours, and needs up to 15 minutes to start again
    (SQS Developer Guide, "CloudWatch metrics for Amazon SQS"): submitting a job asks for its instance at once, and
    this one launches for all other jobs. An instance that was asked for warms up as any other does, so a step
    for the minute before its launch adds nothing.
    """

    def __init__(self, name: str, args: BacklogScalingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        policy = aws.autoscaling.Policy(
            f"{name}-out",
            autoscaling_group_name=args.group_name,
            policy_type="StepScaling",
            adjustment_type="ChangeInCapacity",
            estimated_instance_warmup=WARMUP_S,
            # Of the minutes looked at; any other would mix in those that have not arrived.
            metric_aggregation_type="Maximum",
            step_adjustments=_adjustments(args.max_instances),
            opts=self._child,
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
            opts=self._child,
        )
        self.register_outputs({"alarm_arn": alarm.arn})


def _adjustments(max_instances: int) -> list[Any]:
    """The steps as the provider takes them."""
    return [
        {"metric_interval_lower_bound": str(lower), "scaling_adjustment": size}
        | ({} if upper is None else {"metric_interval_upper_bound": str(upper)})
        for lower, upper, size in steps(max_instances)
    ]


def backlog_queries(args: BacklogScalingArgs) -> list[Any]:
    """Messages of both queues, waiting or taken, less the instances asked for.

    An instance takes one message. What is taken beyond that is no instance's: it is hidden for hours until a run is to
    be delivered once more, or a worker elsewhere has it.

    FILL stands in for a minute that is not there yet, but not for a metric without any data: hence SUM over the
    queues that have some, so that a silent queue does not hide the other. The desired capacity repeats its last
    value: a zero in its place would launch an instance for every job that already has one.
    """

    def metric(query: str, namespace: str, name: str, dimensions: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
        of = {"namespace": namespace, "metric_name": name, "dimensions": dict(dimensions)}
        return {"id": query, "return_data": False, "metric": {**of, "period": PERIOD_S, "stat": "Maximum"}}

    def expression(query: str, text: str) -> dict[str, Any]:
        return {"id": query, "expression": text, "return_data": False}

    queries = []
    for short, name in BACKLOG_METRICS.items():
        for priority in PRIORITIES:
            queries.append(metric(f"{short}_{priority}", "AWS/SQS", name, {"QueueName": args.queue_names[priority]}))
        filled = ", ".join(f"FILL({short}_{priority}, 0)" for priority in PRIORITIES)
        queries.append(expression(short, f"SUM([{filled}])"))
    group = {"AutoScalingGroupName": args.group_name}
    queries.append(metric("desired", "AWS/AutoScaling", "GroupDesiredCapacity", group))
    queries.append(expression("instances", "FILL(desired, REPEAT)"))
    missing = {**expression("missing", "waiting + MIN([taken, instances]) - instances"), "return_data": True}
    return [{**missing, "label": "Jobs without an instance"}, *queries]
