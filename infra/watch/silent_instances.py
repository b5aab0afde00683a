"""A scheduled function: it ends instances without a heartbeat for too long, gives jobs without a message a new
one, and sends notices of jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.context import FUNCTIONS, AwsContext, Component
from infra.data.queues import JobQueues
from infra.data.tables import Tables
from infra.event_function import CONTRACT, EventFunction, EventFunctionArgs
from infra.iam import Statement, allow, policy, write_logs
from infra.pools.user_data import BootEnv
from infra.pools.worker_pool import WorkerPool
from infra.roles import OWN_NAMESPACE, group_pattern
from infra.watch.logs import LogGroups
from receipt_trainer.contract import liveness, metrics, notices
from receipt_trainer.contract.outputs import PoolName
from receipt_trainer.contract.tables import LOOKS_PK, job_pk, job_status_pk

_FOLDER: Final = FUNCTIONS / "silent_instances"
HANDLER: Final = _FOLDER / "handler.py"
"""Never imported here: it runs in Lambda, whose Python has boto3."""
_PARTS: Final = ("notices.py", "waiting_jobs.py")
_SHARED: Final = (
    *("__init__.py", "cost.py", "job_row.py", "notices.py", "tables.py", "waiting.py"),
    "waiting_calls.py",
)
FILES: Final = {
    "handler.py": HANDLER,
    **{f"infra/functions/silent_instances/{name}": _FOLDER / name for name in _PARTS},
    "receipt_trainer/__init__.py": CONTRACT.parent / "__init__.py",
    **{f"receipt_trainer/contract/{name}": CONTRACT / name for name in _SHARED},
}
"""The handler, its other parts, and what they share with the commands on a laptop."""


@dataclass(frozen=True)
class SilentInstancesArgs:
    """The pools to look at.

    Attributes:
        tables: instances with their heartbeats; jobs, which keep notices until they are sent, and the last looks at the
            queues.
        notices: topic of the notices.
    """

    context: AwsContext
    pools: Mapping[PoolName, WorkerPool]
    tables: Tables
    queues: JobQueues
    notices: Notices
    logs: LogGroups


class SilentInstances(EventFunction):
    """The function that ends silent instances, its role and its schedule."""

    def __init__(self, name: str, args: SilentInstancesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        prefix = args.context.prefix
        function = EventFunctionArgs(
            context=args.context,
            kind="silent-instances",
            description=f"Ends silent workers of {prefix}, sends lost messages of jobs anew, and notices of their ends",
            files=FILES,
            rules=_rules(args),
            log_group=args.logs.silence.name,
            role_component="SilenceRole",
            role_kind="silence",
            allowed=_policy(args),
            schedule=f"rate({liveness.LOOK_EVERY_MIN} minutes)",
            purpose=f"Looks for silent workers of {prefix}",
        )
        super().__init__(name, function, opts)


def _rules(args: SilentInstancesArgs) -> dict[str, Any]:
    """The fields of the handler's rules, and of those of its other parts."""
    jobs = args.tables.jobs.name
    silence = {
        "heartbeat_limit_s": liveness.HEARTBEAT_LIMIT_S,
        "boot_limit_s": liveness.BOOT_LIMIT_S,
        "second_look_s": liveness.SECOND_LOOK_S,
        "max_boot_failures": BootEnv.model_fields["max_boot_failures"].default,
        "environment": args.context.environment,
        "table": args.tables.instances.name,
        "groups": {pool: made.group_name for pool, made in args.pools.items()},
        "namespace": metrics.NAMESPACE,
        "metric": metrics.SILENT_INSTANCES,
    }
    return {
        "silent_instances": silence,
        "waiting_jobs": {"table": jobs, "queues": {pool: dict(urls) for pool, urls in args.queues.urls.items()}},
        "notices": {"table": jobs, "topic": args.notices.topic_arn, "stack": pulumi.get_stack()},
    }


def _policy(args: SilentInstancesArgs) -> pulumi.Output[str]:
    groups = [args.context.arn("autoscaling", group_pattern(args.context, pool)) for pool in args.pools]
    return policy(
        lambda **known: role_statements(groups, **known),
        instances=args.tables.instances.arn,
        jobs=args.tables.jobs.arn,
        queues=args.queues.all_arns,
        topic=args.notices.topic_arn,
        log_group=args.logs.silence.arn,
    )


def role_statements(
    groups: Sequence[str], *, instances: str, jobs: str, queues: Sequence[str], topic: str, log_group: str
) -> list[Statement]:
    """Rights of the function, by ARNs: of the account it may see instances, and end its own; it reads jobs by state,
    counts and sends messages, keeps its looks, and lets a job name the queue that came in the place of one that is
    gone; it reads notices and what a job's attempts cost, and deletes notices."""

    def keys(operator: str, *of: str) -> dict[str, Any]:
        return {f"ForAllValues:{operator}": {"dynamodb:LeadingKeys": list(of)}}

    return [
        allow("FindGroups", "autoscaling", ["DescribeAutoScalingGroups"], "*"),
        allow("FindLaunches", "ec2", ["DescribeInstances"], "*"),
        allow("ReadHeartbeats", "dynamodb", ["BatchGetItem", "UpdateItem"], [instances]),
        allow("EndSilent", "autoscaling", ["SuspendProcesses", "TerminateInstanceInAutoScalingGroup"], groups),
        allow("PutMetrics", "cloudwatch", ["PutMetricData"], "*", OWN_NAMESPACE),
        write_logs(log_group),
        allow("FindJobs", "dynamodb", ["Query"], [f"{jobs}/index/GSI1"], keys("StringLike", job_status_pk("*"))),
        allow("KeepLooks", "dynamodb", ["PutItem", "Query"], [jobs], keys("StringEquals", LOOKS_PK)),
        allow("MoveJobs", "dynamodb", ["UpdateItem"], [jobs], keys("StringLike", job_pk("*"))),
        allow("SendMessages", "sqs", ["GetQueueAttributes", "SendMessage"], queues),
        allow("ReadNotices", "dynamodb", ["Query"], [jobs], keys("StringLike", notices.PK, "JOB#*")),
        allow("DeleteNotices", "dynamodb", ["DeleteItem"], [jobs], keys("StringEquals", notices.PK)),
        allow("SendNotices", "sns", ["Publish"], [topic]),
    ]


def topic_with_mail(
    name: str,
    mail_name: str,
    context: AwsContext,
    kind: str,
    email: str | None,
    opts: pulumi.ResourceOptions,
    key: str | None = None,
) -> aws.sns.Topic:
    """A topic, encrypted with `key`, and its subscription by mail if there is an address."""
    topic = aws.sns.Topic(name, kms_master_key_id=key, tags=context.tags_for(kind), opts=opts)
    if email:
        aws.sns.TopicSubscription(mail_name, topic=topic.arn, protocol="email", endpoint=email, opts=opts)
    return topic


@dataclass(frozen=True)
class NoticesArgs:
    """The address, if any, that is subscribed, once its owner has followed AWS's link."""

    context: AwsContext
    email: str | None = None


class Notices(Component[NoticesArgs]):
    """The topic, and its subscription by mail. Others subscribe to it by hand: chat, a queue, a text message."""

    def __init__(self, name: str, args: NoticesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        # Names of jobs and reasons of failures stand in the texts. The key is AWS's own for SNS, without a monthly
        # price: its policy admits all of this account that may publish, such as the function's role. (CloudWatch, which
        # is a service and no role of the account, may not use it: see the topic of the alarms.)
        made = f"{name}-topic", f"{name}-email"
        topic = topic_with_mail(*made, args.context, "notices", args.email, self._child, key="alias/aws/sns")
        self.topic_arn = topic.arn
        self.register_outputs({"topic_arn": topic.arn})
