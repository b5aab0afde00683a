"""Alarms that say what to do, a budget, and a dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, named
from infra.data.queues import JobQueues
from infra.pools.worker_pool import WorkerPool
from infra.setting_groups import BudgetSettings
from infra.watch.alarms import PoolWatch, look_failures
from infra.watch.dashboard import dashboard_body
from infra.watch.logs import LogGroups
from infra.watch.silent_instances import SilentInstances
from receipt_trainer.contract.outputs import PoolName

BUDGET_NOTICES: Final = (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))
"""(what is compared, percent of the budget) of each mail."""


@dataclass(frozen=True)
class ObservabilityArgs:
    """Arguments of the monitoring.

    Attributes:
        pools: the pools of the stack, and their queues.
        silence: the function that ends silent instances.
        alarm_email: address for the alarms; None: they show on the dashboard only.
        budget: monthly budget; None = none.
    """

    context: AwsContext
    pools: Mapping[PoolName, WorkerPool]
    queues: JobQueues
    logs: LogGroups
    silence: SilentInstances
    alarm_email: str | None = None
    budget: BudgetSettings | None = None


class Observability(pulumi.ComponentResource):
    """Alarms with their topic, budget and dashboard of one stack.

    Attributes:
        topic_arn: SNS topic of the alarms.
        dashboard_name: name of the dashboard.
    """

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:Observability", name, None, opts)
        self._name, self._args = name, args
        topic = self._topic()
        alarms: list[aws.cloudwatch.MetricAlarm] = []
        for pool in args.pools:
            watch = PoolWatch(self, f"{name}-{pool}", args.context, pool, topic.arn)
            alarms += watch.alarms(args.queues.names[pool], args.queues.dead_letter_names[pool])
        alarms.append(look_failures(self, f"{name}-silence", args.context, args.silence.function_name, topic.arn))
        if args.budget is not None:
            self._budget(args.budget)
        self.topic_arn = topic.arn
        self.dashboard_name = self._dashboard([alarm.arn for alarm in alarms]).dashboard_name
        self.register_outputs({"topic_arn": self.topic_arn, "dashboard_name": self.dashboard_name})

    def _topic(self) -> aws.sns.Topic:
        opts = pulumi.ResourceOptions(parent=self)
        # Not encrypted with aws/sns: CloudWatch may not use that key, and its alarms would be lost without a word.
        # The texts hold names of queues and thresholds only.
        topic = aws.sns.Topic(f"{self._name}-alarms", tags=self._args.context.tags_for("alarms"), opts=opts)
        if self._args.alarm_email:
            aws.sns.TopicSubscription(
                f"{self._name}-alarm-email",
                topic=topic.arn,
                protocol="email",
                endpoint=self._args.alarm_email,
                opts=opts,
            )
        return topic

    def _budget(self, budget: BudgetSettings) -> None:
        """Sees the cost of the project's stacks, all environments together, once the tag `Project` is activated as a
        cost allocation tag (Billing console): a filter by two tags would mean either of them."""
        context = self._args.context
        aws.budgets.Budget(
            f"{self._name}-budget",
            name=context.name("monthly"),
            budget_type="COST",
            limit_amount=f"{budget.monthly_usd:.2f}",
            limit_unit="USD",
            time_unit="MONTHLY",
            cost_filters=[
                aws.budgets.BudgetCostFilterArgs(name="TagKeyValue", values=[f"user:Project${context.project}"])
            ],
            notifications=[
                aws.budgets.BudgetNotificationArgs(
                    notification_type=compared,
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                    comparison_operator="GREATER_THAN",
                    subscriber_email_addresses=[budget.email],
                )
                for compared, percent in BUDGET_NOTICES
            ],
            tags=context.tags_for("monthly"),
            opts=named(self),
        )

    def _dashboard(self, alarm_arns: Sequence[pulumi.Output[str]]) -> aws.cloudwatch.Dashboard:
        args = self._args
        body = dashboard_body(
            args.context,
            {
                pool: (args.queues.names[pool], args.queues.dead_letter_names[pool], made.group_name)
                for pool, made in args.pools.items()
            },
            args.logs.boot.name,
            args.logs.worker.name,
            alarm_arns,
        )
        return aws.cloudwatch.Dashboard(
            f"{self._name}-dashboard",
            dashboard_name=args.context.prefix,
            dashboard_body=pulumi.Output.json_dumps(body),
            opts=named(self),
        )
