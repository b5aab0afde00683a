"""Alarms of one pool, and of what looks after all pools; each says in its mail what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext
from receipt_trainer.contract import liveness, metrics
from receipt_trainer.contract.outputs import PRIORITIES, PoolName, Priority

WAITING_PERIOD_S: Final = 300
WAITING_PERIODS: Final = 12
"""An hour in which a queue was never empty."""
BOOT_PERIOD_S: Final = 900
LOOKS_PERIOD_S: Final = 900

_WAITING_MESSAGES: Final = {"namespace": "AWS/SQS", "metric_name": "ApproximateNumberOfMessagesVisible"}


@dataclass(frozen=True)
class PoolWatch:
    """Makes the alarms of one pool.

    Attributes:
        parent: component that the alarms belong to.
        name: beginning of their logical names.
        pool: name of the pool.
        topic_arn: SNS topic that hears of them.
    """

    parent: pulumi.Resource
    name: str
    context: AwsContext
    pool: PoolName
    topic_arn: pulumi.Input[str]

    def alarms(
        self, queue_names: Mapping[Priority, pulumi.Input[str]], dead_letter_queue_name: pulumi.Input[str]
    ) -> list[aws.cloudwatch.MetricAlarm]:
        """Dead letters, jobs that wait too long (an alarm a priority), boots that fail, silent instances, held jobs."""
        waiting = [self._waiting(priority, queue_names[priority]) for priority in PRIORITIES]
        own = [self._boot_failures(), self._silent_instances(), self._held_jobs()]
        return [self._dead_letters(dead_letter_queue_name), *waiting, *own]

    def _alarm(self, kind: str, description: str, **measure: Any) -> aws.cloudwatch.MetricAlarm:
        return aws.cloudwatch.MetricAlarm(
            f"{self.name}-{kind}",
            alarm_description=f"{self.context.prefix}, {self.pool} pool: {description}",
            treat_missing_data="notBreaching",
            alarm_actions=[self.topic_arn],
            tags=self.context.tags_for(f"{kind}-{self.pool}", Pool=self.pool),
            opts=pulumi.ResourceOptions(parent=self.parent),
            **measure,
        )

    def _dead_letters(self, queue_name: pulumi.Input[str]) -> aws.cloudwatch.MetricAlarm:
        return self._alarm(
            "dead-letters",
            "a message was received many times and never finished; it lies in the dead-letter queue. Read it there, "
            f"look up its job id in the log group {self.context.path('worker')}, submit the job again once the cause "
            "is gone, and delete the message.",
            **_WAITING_MESSAGES,
            dimensions={"QueueName": queue_name},
            statistic="Maximum",
            period=WAITING_PERIOD_S,
            evaluation_periods=1,
            threshold=0,
            comparison_operator="GreaterThanThreshold",
        )

    def _waiting(self, priority: Priority, queue_name: pulumi.Input[str]) -> aws.cloudwatch.MetricAlarm:
        """A queue that was never empty for an hour.

        SQS's age of the oldest message counts a job in flight, too: one that trains for three hours, with nobody
        waiting, would be an alarm.
        """
        return self._alarm(
            f"{priority}-waiting",
            f"jobs of priority {priority} have been waiting for an hour. If the Auto Scaling group "
            f"{self.context.name('workers', self.pool)} has no instances, read its activity history (no spot "
            f"capacity, a quota, a suspended Launch process) and the log group {self.context.path('boot')}; if all "
            f"are busy, raise pools.{self.pool}.max_instances, or wait.",
            **_WAITING_MESSAGES,
            dimensions={"QueueName": queue_name},
            statistic="Minimum",
            period=WAITING_PERIOD_S,
            evaluation_periods=WAITING_PERIODS,
            datapoints_to_alarm=WAITING_PERIODS,
            threshold=0,
            comparison_operator="GreaterThanThreshold",
        )

    def _counted(self, name: str, text: str, metric: str) -> aws.cloudwatch.MetricAlarm:
        """Something that is counted each time it happens, and should not."""
        return self._alarm(
            name,
            text,
            namespace=metrics.NAMESPACE,
            metric_name=metric,
            dimensions=metrics.dimensions(self.context.environment, self.pool),
            statistic="Sum",
            period=BOOT_PERIOD_S,
            evaluation_periods=1,
            threshold=1,
            comparison_operator="GreaterThanOrEqualToThreshold",
        )

    def _boot_failures(self) -> aws.cloudwatch.MetricAlarm:
        return self._counted(
            "boot-failures",
            "an instance failed to boot and ended itself. The reason is in the log group "
            f"{self.context.path('boot')}. After three failures in a row the group launches nothing more; once the "
            "cause is gone: aws autoscaling resume-processes --scaling-processes Launch --auto-scaling-group-name "
            f"{self.context.name('workers', self.pool)}",
            metrics.BOOT_FAILURES,
        )

    def _silent_instances(self) -> aws.cloudwatch.MetricAlarm:
        return self._counted(
            "silent-instances",
            "the stack ended an instance that had sent no heartbeat for "
            f"{liveness.HEARTBEAT_LIMIT_S // 60} minutes, or since its launch. Its job, if it had one, is back in the "
            "queue. Why: receipt-trainer instances, and the log groups "
            f"{self.context.path('worker')} and {self.context.path('boot')}, stream of the instance. Nothing else to "
            "do unless it happens again.",
            metrics.SILENT_INSTANCES,
        )

    def _held_jobs(self) -> aws.cloudwatch.MetricAlarm:
        return self._counted(
            "held-jobs",
            "a job's complete run could not be delivered to S3 or to the jobs table for 14 days, and no worker tries "
            "again. Its files are on the checkpoints' file system. Why: receipt-trainer jobs --status INTERRUPTED, and "
            "job-status of the one that is held. Once the cause is gone: receipt-trainer retry JOB delivers it; "
            "nothing is trained again.",
            metrics.JOBS_HELD,
        )


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
