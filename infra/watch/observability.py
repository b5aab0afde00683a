"""Logs with an end, alarms that say what to do, a budget, and a dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.image.golden_ami import recipe_name
from infra.image.policies import log_group_name
from infra.naming import Naming, named
from infra.settings import BudgetSettings
from infra.watch.alarms import PoolWatch, look_failures
from infra.watch.dashboard import dashboard_body
from receipt_trainer.contract.outputs import PoolName, Priority

BUDGET_NOTICES: Final = (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))
"""(what is compared, percent of the budget) of each mail."""


@dataclass(frozen=True)
class LogGroupsArgs:
    """Log groups of one stack; `retention_days` as CloudWatch allows them."""

    naming: Naming
    retention_days: int


class LogGroups(pulumi.ComponentResource):
    """The five log groups; what writes to them never creates one without an end.

    Attributes:
        boot: of the boot scripts.
        worker: of the workers.
        flow: of the VPC's flow logs.
        image: of Image Builder, under the name that it writes to.
        silence: of the function that ends silent instances.
    """

    boot: aws.cloudwatch.LogGroup
    worker: aws.cloudwatch.LogGroup
    flow: aws.cloudwatch.LogGroup
    image: aws.cloudwatch.LogGroup
    silence: aws.cloudwatch.LogGroup

    def __init__(self, name: str, args: LogGroupsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:LogGroups", name, None, opts)
        self._name, self._args = name, args
        self.boot = self._group("boot", args.naming.path("boot"))
        self.worker = self._group("worker", args.naming.path("worker"))
        self.flow = self._group("flow", args.naming.path("flow"))
        self.image = self._group("image", log_group_name(recipe_name(args.naming)))
        self.silence = self._group("silence", args.naming.path("silent-instances"))
        self.register_outputs({"boot": self.boot.name, "worker": self.worker.name})

    def _group(self, kind: str, group_name: str) -> aws.cloudwatch.LogGroup:
        return aws.cloudwatch.LogGroup(
            f"{self._name}-{kind}",
            name=group_name,
            retention_in_days=self._args.retention_days,
            tags=self._args.naming.tags_for(f"logs-{kind}"),
            opts=named(self),
        )


@dataclass(frozen=True)
class WatchedPool:
    """Names by which CloudWatch knows what belongs to one pool."""

    queue_names: Mapping[Priority, pulumi.Input[str]]
    dead_letter_queue_name: pulumi.Input[str]
    auto_scaling_group: pulumi.Input[str]


@dataclass(frozen=True)
class ObservabilityArgs:
    """What is watched, and who hears of it.

    Attributes:
        naming: names and tags.
        region: AWS region of the metrics.
        pools: the pools of the stack.
        boot_log_group_name: log group of the boot scripts.
        worker_log_group_name: log group of the workers.
        silence_function_name: function that ends silent instances.
        alarm_email: who gets the alarms; None = nobody, they show on the dashboard only.
        budget: monthly budget; None = none.
    """

    naming: Naming
    region: str
    pools: Mapping[PoolName, WatchedPool]
    boot_log_group_name: pulumi.Input[str]
    worker_log_group_name: pulumi.Input[str]
    silence_function_name: pulumi.Input[str]
    alarm_email: str | None = None
    budget: BudgetSettings | None = None


class Observability(pulumi.ComponentResource):
    """Alarms with their topic, budget and dashboard of one stack.

    Attributes:
        topic_arn: SNS topic of the alarms.
        dashboard_name: name of the dashboard.
    """

    topic_arn: pulumi.Output[str]
    dashboard_name: pulumi.Output[str]

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:Observability", name, None, opts)
        self._name, self._args = name, args
        topic = self._topic()
        alarms: list[aws.cloudwatch.MetricAlarm] = []
        for pool, watched in args.pools.items():
            watch = PoolWatch(self, f"{name}-{pool}", args.naming, pool, topic.arn)
            alarms += watch.alarms(watched.queue_names, watched.dead_letter_queue_name)
        alarms.append(look_failures(self, f"{name}-silence", args.naming, args.silence_function_name, topic.arn))
        if args.budget is not None:
            self._budget(args.budget)
        self.topic_arn = topic.arn
        self.dashboard_name = self._dashboard([alarm.arn for alarm in alarms]).dashboard_name
        self.register_outputs({"topic_arn": self.topic_arn, "dashboard_name": self.dashboard_name})

    def _topic(self) -> aws.sns.Topic:
        opts = pulumi.ResourceOptions(parent=self)
        # Not encrypted with aws/sns: CloudWatch may not use that key, and its alarms would be lost without a word.
        # The texts hold names of queues and thresholds only.
        topic = aws.sns.Topic(f"{self._name}-alarms", tags=self._args.naming.tags_for("alarms"), opts=opts)
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
        naming = self._args.naming
        aws.budgets.Budget(
            f"{self._name}-budget",
            name=naming.name("monthly"),
            budget_type="COST",
            limit_amount=f"{budget.monthly_usd:.2f}",
            limit_unit="USD",
            time_unit="MONTHLY",
            cost_filters=[
                aws.budgets.BudgetCostFilterArgs(name="TagKeyValue", values=[f"user:Project${naming.project}"])
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
            tags=naming.tags_for("monthly"),
            opts=named(self),
        )

    def _dashboard(self, alarm_arns: Sequence[pulumi.Output[str]]) -> aws.cloudwatch.Dashboard:
        args = self._args
        body = dashboard_body(
            args.region,
            args.naming.environment,
            {
                pool: (watched.queue_names, watched.dead_letter_queue_name, watched.auto_scaling_group)
                for pool, watched in args.pools.items()
            },
            args.boot_log_group_name,
            args.worker_log_group_name,
            alarm_arns,
        )
        return aws.cloudwatch.Dashboard(
            f"{self._name}-dashboard",
            dashboard_name=args.naming.prefix,
            dashboard_body=pulumi.Output.json_dumps(body),
            opts=named(self),
        )
