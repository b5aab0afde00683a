"""Log groups: what writes to them never creates one without an end."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, named
from infra.image.policies import log_group_name


@dataclass(frozen=True)
class LogGroupsArgs:
    """Log groups of one stack; `retention_days` as CloudWatch allows them."""

    context: AwsContext
    retention_days: int


class LogGroups(pulumi.ComponentResource):
    """The five log groups.

    Attributes:
        boot: of the boot scripts.
        worker: of the workers.
        flow: of the VPC's flow logs.
        image: of Image Builder, under the name that it writes to.
        silence: of the function that ends silent instances.
    """

    def __init__(self, name: str, args: LogGroupsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:LogGroups", name, None, opts)
        self._name, self._args = name, args
        path = args.context.path
        self.boot = self._group("boot", path("boot"))
        self.worker = self._group("worker", path("worker"))
        self.flow = self._group("flow", path("flow"))
        self.image = self._group("image", log_group_name(args.context))
        self.silence = self._group("silence", path("silent-instances"))
        self.register_outputs({"boot": self.boot.name, "worker": self.worker.name})

    def _group(self, kind: str, group_name: str) -> aws.cloudwatch.LogGroup:
        return aws.cloudwatch.LogGroup(
            f"{self._name}-{kind}",
            name=group_name,
            retention_in_days=self._args.retention_days,
            tags=self._args.context.tags_for(f"logs-{kind}"),
            opts=named(self),
        )
