"""Silent instances: a scheduled function ends those that nobody has heard of for too long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.boot import BootEnv
from infra.naming import Naming, named
from receipt_trainer.contract import metrics, silence
from receipt_trainer.contract.outputs import PoolName

HANDLER: Final = Path(__file__).resolve().parent / "functions" / "silent_instances" / "handler.py"
"""Never imported here: it runs in Lambda, whose Python has boto3."""
RUNTIME: Final = "python3.13"
TIMEOUT_S: Final = 120
MEMORY_MIB: Final = 256
LATE_S: Final = 300
"""A look that is later than this is not taken: the next one does the same."""


@dataclass(frozen=True)
class SilentInstancesArgs:
    """Who is looked at, and as whom.

    Attributes:
        naming: names and tags.
        groups: name of the Auto Scaling group of each pool.
        instances_table: name of the instances table.
        log_group: name of the function's log group.
        role_arn: role of the function, which must be allowed everything before its first run.
    """

    naming: Naming
    groups: Mapping[PoolName, pulumi.Input[str]]
    instances_table: pulumi.Input[str]
    log_group: pulumi.Input[str]
    role_arn: pulumi.Input[str]


class SilentInstances(pulumi.ComponentResource):
    """A Lambda function and its schedule.

    Outside of the VPC, so that it works, and costs the same, whatever `network.nat` says: it calls AWS and nothing
    else. Without reserved concurrency: an account whose limit is 10, as new ones have it, may reserve none.

    Attributes:
        function_name: name of the function.
    """

    function_name: pulumi.Output[str]

    def __init__(self, name: str, args: SilentInstancesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:SilentInstances", name, None, opts)
        self._name, self._args = name, args
        function = self._function()
        self._schedule(function)
        self.function_name = function.name
        self.register_outputs({"function_name": function.name})

    def _function(self) -> aws.lambda_.Function:
        args, own = self._args, pulumi.ResourceOptions(parent=self)
        function = aws.lambda_.Function(
            f"{self._name}-function",
            name=args.naming.name("silent-instances"),
            description=f"Ends workers of {args.naming.prefix} that nobody has heard of",
            role=args.role_arn,
            runtime=RUNTIME,
            handler="handler.handle",
            # One file by name, so that what else lies in the folder changes nothing.
            code=pulumi.AssetArchive({"handler.py": pulumi.FileAsset(str(HANDLER))}),
            timeout=TIMEOUT_S,
            memory_size=MEMORY_MIB,
            environment=aws.lambda_.FunctionEnvironmentArgs(variables={"RULES": self._rules()}),
            logging_config=aws.lambda_.FunctionLoggingConfigArgs(log_format="Text", log_group=args.log_group),
            tags=args.naming.tags_for("silent-instances"),
            opts=named(self),
        )
        aws.lambda_.FunctionEventInvokeConfig(
            f"{self._name}-no-retries",
            function_name=function.name,
            maximum_event_age_in_seconds=LATE_S,
            maximum_retry_attempts=0,
            opts=own,
        )
        return function

    def _rules(self) -> pulumi.Output[str]:
        """The fields of the handler's `Rules`."""
        limits = {
            "heartbeat_limit_s": silence.HEARTBEAT_LIMIT_S,
            "boot_limit_s": silence.BOOT_LIMIT_S,
            "second_look_s": silence.SECOND_LOOK_S,
            "max_boot_failures": BootEnv.model_fields["max_boot_failures"].default,
        }
        names: dict[str, Any] = {
            "environment": self._args.naming.environment,
            "table": self._args.instances_table,
            "groups": dict(self._args.groups),
            "namespace": metrics.NAMESPACE,
            "metric": metrics.SILENT_INSTANCES,
        }
        return pulumi.Output.json_dumps(names | limits)

    def _schedule(self, function: aws.lambda_.Function) -> None:
        own = pulumi.ResourceOptions(parent=self)
        rule = aws.cloudwatch.EventRule(
            f"{self._name}-schedule",
            description=f"Looks for silent workers of {self._args.naming.prefix}",
            schedule_expression=f"rate({silence.LOOK_EVERY_MIN} minutes)",
            tags=self._args.naming.tags_for("silent-instances"),
            opts=own,
        )
        permission = aws.lambda_.Permission(
            f"{self._name}-permission",
            function=function.name,
            action="lambda:InvokeFunction",
            principal="events.amazonaws.com",
            source_arn=rule.arn,
            opts=own,
        )
        aws.cloudwatch.EventTarget(
            f"{self._name}-target",
            rule=rule.name,
            arn=function.arn,
            retry_policy=aws.cloudwatch.EventTargetRetryPolicyArgs(
                maximum_event_age_in_seconds=LATE_S, maximum_retry_attempts=2
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[permission]),
        )
