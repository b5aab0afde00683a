"""Alarms that say what to do, a budget, and a dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component, named
from infra.data.queues import JobQueues
from infra.pools.worker_pool import WorkerPool
from infra.setting_groups import BudgetSettings
from infra.watch.alarms import look_failures, pool_alarms
from infra.watch.dashboard import PoolSources, dashboard_body
from infra.watch.logs import LogGroups
from infra.watch.silent_instances import SilentInstances, topic_with_mail
from receipt_trainer.contract.outputs import PoolName

BUDGET_NOTICES: Final = (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))
"""(what is compared, percent of the budget) of each mail."""


@dataclass(frozen=True)
class ObservabilityArgs:
    """What is watched; without `alarm_email` the alarms show on the dashboard only."""

    context: AwsContext
    pools: Mapping[PoolName, WorkerPool]
    queues: JobQueues
    logs: LogGroups
    silence: SilentInstances
    alarm_email: str | None = None
    budget: BudgetSettings | None = None


class Observability(Component[ObservabilityArgs]):
    """Alarms with their topic, budget and dashboard of one stack."""

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        context, queues = args.context, args.queues
        # Not encrypted with aws/sns: CloudWatch may not use that key, and its alarms would be lost without a word.
        # The texts hold names of queues and thresholds only.
        topic = topic_with_mail(
            f"{name}-alarms", f"{name}-alarm-email", context, "alarms", args.alarm_email, self._child
        )
        alarms: list[aws.cloudwatch.MetricAlarm] = []
        for pool in args.pools:
            of_pool = queues.names[pool], queues.dead_letter_names[pool]
            alarms += pool_alarms(self, f"{name}-{pool}", context, pool, topic.arn, *of_pool)
        alarms.append(look_failures(self, f"{name}-silence", context, args.silence.function_name, topic.arn))
        if args.budget is not None:
            self._budget(args.budget)
        shown: dict[PoolName, PoolSources] = {
            pool: (queues.names[pool], queues.dead_letter_names[pool], made.group_name)
            for pool, made in args.pools.items()
        }
        body = dashboard_body(
            context, shown, args.logs.boot.name, args.logs.worker.name, [alarm.arn for alarm in alarms]
        )
        dashboard = aws.cloudwatch.Dashboard(
            f"{name}-dashboard",
            dashboard_name=context.prefix,
            dashboard_body=pulumi.Output.json_dumps(body),
            opts=named(self),
        )
        self.topic_arn, self.dashboard_name = topic.arn, dashboard.dashboard_name
        self.register_outputs({"topic_arn": self.topic_arn, "dashboard_name": self.dashboard_name})

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
