"""Log groups: what writes to them never creates one without an end."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component, named
from infra.image.policies import log_group_name


@dataclass(frozen=True)
class LogGroupsArgs:
    """Log groups of one stack; `retention_days` as CloudWatch allows them."""

    context: AwsContext
    retention_days: int


class LogGroups(Component[LogGroupsArgs]):
    """Groups of the boot scripts, of the workers, of the VPC's flow logs, of Image Builder (under the name that it
    writes to), and of the function that ends silent instances."""

    def __init__(self, name: str, args: LogGroupsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        path = args.context.path
        names = {
            "boot": path("boot"),
            "worker": path("worker"),
            "flow": path("flow"),
            "image": log_group_name(args.context),
            "silence": path("silent-instances"),
        }
        self.boot, self.worker, self.flow, self.image, self.silence = (
            aws.cloudwatch.LogGroup(
                f"{name}-{kind}",
                name=group_name,
                retention_in_days=args.retention_days,
                tags=args.context.tags_for(f"logs-{kind}"),
                opts=named(self),
            )
            for kind, group_name in names.items()
        )
        self.register_outputs({"boot": self.boot.name, "worker": self.worker.name})
