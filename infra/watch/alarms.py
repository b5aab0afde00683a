"""Alarms of one pool, and of what looks after all pools; each says in its mail what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext
from receipt_trainer.contract import liveness, metrics
from receipt_trainer.contract.outputs import PRIORITIES, PoolName, Priority

LOOKS_PERIOD_S: Final = 900
_MESSAGES: Final = {
    "namespace": "AWS/SQS",
    "metric_name": "ApproximateNumberOfMessagesVisible",
    "period": 300,
    "threshold": 0,
    "comparison_operator": "GreaterThanThreshold",
}
_DEAD: Final = {**_MESSAGES, "statistic": "Maximum", "evaluation_periods": 1}
_WAITING: Final = {**_MESSAGES, "statistic": "Minimum", "evaluation_periods": 12, "datapoints_to_alarm": 12}
"""A queue that was never empty for an hour. SQS's age of the oldest message counts a job in flight, too: one that
trains for three hours, with nobody waiting, would be an alarm."""
_COUNTED: Final = {
    "namespace": metrics.NAMESPACE,
    "statistic": "Sum",
    "period": 900,
    "evaluation_periods": 1,
    "threshold": 1,
    "comparison_operator": "GreaterThanOrEqualToThreshold",
}
"""What is counted each time it happens, and should not."""
_DEAD_TEXT: Final = (
    "a message was received many times and never finished; it lies in the dead-letter queue. Read it there, look up "
    "its job id in the log group {worker_logs}, submit the job again once the cause is gone, and delete the message."
)
_WAITING_TEXT: Final = (
    "jobs of priority {priority} have been waiting for an hour. If the Auto Scaling group {group} has no instances, "
    "read its activity history (no spot capacity, a quota, a suspended Launch process) and the log group {boot_logs}; "
    "if all are busy, raise pools.{pool}.max_instances, or wait."
)
_COUNTED_TEXTS: Final = {
    "boot-failures": (
        metrics.BOOT_FAILURES,
        "an instance failed to boot and ended itself. The reason is in the log group {boot_logs}. After three failures "
        "in a row the group launches nothing more; once the cause is gone: aws autoscaling resume-processes "
        "--scaling-processes Launch --auto-scaling-group-name {group}",
    ),
    "silent-instances": (
        metrics.SILENT_INSTANCES,
        f"the stack ended an instance that had sent no heartbeat for {liveness.HEARTBEAT_LIMIT_S // 60} minutes, or "
        "since its launch. Its job, if it had one, is back in the queue. Why: receipt-trainer instances, and the log "
        "groups {worker_logs} and {boot_logs}, stream of the instance. Nothing else to do unless it happens again.",
    ),
    "held-jobs": (
        metrics.JOBS_HELD,
        "a job's complete run could not be delivered to S3 or to the jobs table for 14 days, and no worker tries "
        "again. Its files are on the checkpoints' file system. Why: receipt-trainer jobs --status INTERRUPTED, and "
        "job-status of the one that is held. Once the cause is gone: receipt-trainer retry JOB delivers it; "
        "nothing is trained again.",
    ),
}


def pool_alarms(
    parent: pulumi.Resource,
    name: str,
    context: AwsContext,
    pool: PoolName,
    topic_arn: pulumi.Input[str],
    queue_names: Mapping[Priority, pulumi.Input[str]],
    dead_letter_queue_name: pulumi.Input[str],
) -> list[aws.cloudwatch.MetricAlarm]:
    """Dead letters, jobs that wait too long (an alarm a priority), boots that fail, silent instances, held jobs.

    `name` begins their logical names; the SNS topic hears of them.
    """
    own = {"dimensions": metrics.dimensions(context.environment, pool), **_COUNTED}
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "dead-letters": (_DEAD_TEXT, {"dimensions": {"QueueName": dead_letter_queue_name}, **_DEAD}),
        **{
            f"{priority}-waiting": (
                _WAITING_TEXT.replace("{priority}", priority),
                {"dimensions": {"QueueName": queue_names[priority]}, **_WAITING},
            )
            for priority in PRIORITIES
        },
        **{kind: (text, {"metric_name": metric, **own}) for kind, (metric, text) in _COUNTED_TEXTS.items()},
    }
    told = {
        "pool": pool,
        "group": context.name("workers", pool),
        "worker_logs": context.path("worker"),
        "boot_logs": context.path("boot"),
    }
    return [
        aws.cloudwatch.MetricAlarm(
            f"{name}-{kind}",
            alarm_description=f"{context.prefix}, {pool} pool: {text.format(**told)}",
            treat_missing_data="notBreaching",
            alarm_actions=[topic_arn],
            tags=context.tags_for(f"{kind}-{pool}", Pool=pool),
            opts=pulumi.ResourceOptions(parent=parent),
            **measure,
        )
        for kind, (text, measure) in wanted.items()
    ]


def look_failures(
    parent: pulumi.Resource,
    name: str,
    context: AwsContext,
    function_name: pulumi.Input[str],
    topic_arn: pulumi.Input[str],
) -> aws.cloudwatch.MetricAlarm:
    """The runs of the function that looks after all pools fail one after the other, or there are none at all.

    Lambda counts errors, zero of them too, with each run: no data means that nothing ran. A new alarm begins without
    data, which is no change and sends no mail.
    """
    return aws.cloudwatch.MetricAlarm(
        f"{name}-looks",
        alarm_description=(
            f"{context.prefix}: function {context.name('silent-instances')} fails, or (INSUFFICIENT_DATA) is not run: "
            "what it cannot do is undone: an instance that hangs costs money until somebody ends it, a job without a "
            "message waits, notices of jobs do not arrive. Which of them, and why, is in the log group "
            f"{context.path('silent-instances')}."
        ),
        namespace="AWS/Lambda",
        metric_name="Errors",
        dimensions={"FunctionName": function_name},
        statistic="Sum",
        period=LOOKS_PERIOD_S,
        evaluation_periods=1,
        threshold=LOOKS_PERIOD_S // 60 // liveness.LOOK_EVERY_MIN,
        comparison_operator="GreaterThanOrEqualToThreshold",
        treat_missing_data="missing",
        alarm_actions=[topic_arn],
        insufficient_data_actions=[topic_arn],
        tags=context.tags_for("silence-looks"),
        opts=pulumi.ResourceOptions(parent=parent),
    )
