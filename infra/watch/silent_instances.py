"""A scheduled function: it ends instances that nobody has heard of for too long, gives jobs without a message a new
one, and sends notices of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.event_function import EventFunction, EventFunctionArgs
from infra.naming import Naming
from infra.pools.user_data import BootEnv
from receipt_trainer import contract
from receipt_trainer.contract import liveness, metrics
from receipt_trainer.contract.outputs import PoolName, Priority

_FOLDER: Final = Path(__file__).resolve().parents[1] / "functions" / "silent_instances"
HANDLER: Final = _FOLDER / "handler.py"
"""Never imported here: it runs in Lambda, whose Python has boto3."""
_CONTRACT: Final = Path(contract.__file__).resolve().parent
_PARTS: Final = ("notices.py", "waiting_jobs.py")
_SHARED: Final = (
    *("__init__.py", "cost.py", "job_row.py", "notices.py", "tables.py", "waiting.py"),
    "waiting_calls.py",
)
FILES: Final = {
    "handler.py": HANDLER,
    **{f"infra/functions/silent_instances/{name}": _FOLDER / name for name in _PARTS},
    "receipt_trainer/__init__.py": _CONTRACT.parent / "__init__.py",
    **{f"receipt_trainer/contract/{name}": _CONTRACT / name for name in _SHARED},
}
"""The handler, its other parts, and what they share with the commands on a laptop."""


@dataclass(frozen=True)
class SilentInstancesArgs:
    """Who is looked at, and as whom.

    Attributes:
        naming: names and tags.
        groups: name of the Auto Scaling group of each pool.
        instances_table: name of the instances table.
        jobs_table: name of the jobs table, which keeps notices until they are sent, and the last looks at the queues.
        queue_urls: URL of each job queue, by pool and priority.
        notices_topic: ARN of the topic of the notices.
        log_group: name of the function's log group.
        role_arn: role of the function, which must be allowed everything before its first run.
    """

    naming: Naming
    groups: Mapping[PoolName, pulumi.Input[str]]
    instances_table: pulumi.Input[str]
    jobs_table: pulumi.Input[str]
    queue_urls: Mapping[PoolName, Mapping[Priority, pulumi.Input[str]]]
    notices_topic: pulumi.Input[str]
    log_group: pulumi.Input[str]
    role_arn: pulumi.Input[str]


class SilentInstances(EventFunction):
    """The function that ends silent instances, and its schedule."""

    def __init__(self, name: str, args: SilentInstancesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        prefix = args.naming.prefix
        function = EventFunctionArgs(
            naming=args.naming,
            kind="silent-instances",
            description=f"Ends silent workers of {prefix}, sends lost messages of jobs anew, and notices of their ends",
            files=FILES,
            rules={
                "silent_instances": _silence_rules(args),
                "waiting_jobs": _waiting_rules(args),
                "notices": _notice_rules(args),
            },
            log_group=args.log_group,
            role_arn=args.role_arn,
            schedule=f"rate({liveness.LOOK_EVERY_MIN} minutes)",
            purpose=f"Looks for silent workers of {prefix}",
        )
        super().__init__("receipts:infra:SilentInstances", name, function, opts)


def _silence_rules(args: SilentInstancesArgs) -> dict[str, Any]:
    """The fields of the handler's `Rules`."""
    return {
        "heartbeat_limit_s": liveness.HEARTBEAT_LIMIT_S,
        "boot_limit_s": liveness.BOOT_LIMIT_S,
        "second_look_s": liveness.SECOND_LOOK_S,
        "max_boot_failures": BootEnv.model_fields["max_boot_failures"].default,
        "environment": args.naming.environment,
        "table": args.instances_table,
        "groups": dict(args.groups),
        "namespace": metrics.NAMESPACE,
        "metric": metrics.SILENT_INSTANCES,
    }


def _waiting_rules(args: SilentInstancesArgs) -> dict[str, Any]:
    """The fields of the `Rules` of its looks at the queues."""
    return {"table": args.jobs_table, "queues": {pool: dict(urls) for pool, urls in args.queue_urls.items()}}


def _notice_rules(args: SilentInstancesArgs) -> dict[str, Any]:
    """The fields of the `Rules` of its notices."""
    return {"table": args.jobs_table, "topic": args.notices_topic, "stack": pulumi.get_stack()}


@dataclass(frozen=True)
class NoticesArgs:
    """Who hears of the end of a job.

    Attributes:
        naming: names and tags.
        email: address that is subscribed, once its owner has followed AWS's link; None: nobody is.
    """

    naming: Naming
    email: str | None = None


class Notices(pulumi.ComponentResource):
    """The topic, and its subscription by mail. Others subscribe to it by hand: chat, a queue, a text message.

    Attributes:
        topic_arn: ARN of the topic.
    """

    topic_arn: pulumi.Output[str]

    def __init__(self, name: str, args: NoticesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:Notices", name, None, opts)
        own = pulumi.ResourceOptions(parent=self)
        # Names of jobs and reasons of failures stand in the texts. The key is AWS's own for SNS, without a monthly
        # price: its policy admits whoever of this account may publish, such as the function's role. (CloudWatch, which
        # is a service and no role of the account, may not use it: see the topic of the alarms.)
        topic = aws.sns.Topic(
            f"{name}-topic", kms_master_key_id="alias/aws/sns", tags=args.naming.tags_for("notices"), opts=own
        )
        if args.email:
            aws.sns.TopicSubscription(f"{name}-email", topic=topic.arn, protocol="email", endpoint=args.email, opts=own)
        self.topic_arn = topic.arn
        self.register_outputs({"topic_arn": topic.arn})
