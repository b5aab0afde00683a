"""A small function of our files that a schedule runs, and an event if it says so; and its role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, named
from infra.iam import role
from receipt_trainer import contract

CONTRACT: Final = Path(contract.__file__).resolve().parent
"""Files that a function shares with commands on a laptop."""
RUNTIME: Final = "python3.13"
TIMEOUT_S: Final = 120
MEMORY_MIB: Final = 256
LATE_S: Final = 300
"""A run that is later than this is not taken: the next one does the same."""


class FunctionRole(pulumi.ComponentResource):
    """Role of one function of the stack, under the type `token`, with one policy.

    Attributes:
        role_arn: ARN of the role, known once its policy is there.
    """

    def __init__(self, token: str, name: str, context: AwsContext, kind: str, allowed: pulumi.Input[str]) -> None:
        super().__init__(token, name, None)
        made = role(self, f"{name}-role", context, kind, "lambda.amazonaws.com")
        own = pulumi.ResourceOptions(parent=self)
        policy = aws.iam.RolePolicy(f"{name}-policy", role=made.id, policy=allowed, opts=own)
        self.role_arn = pulumi.Output.all(made.arn, policy.id).apply(lambda known: str(known[0]))
        self.register_outputs({"role_arn": self.role_arn})


@dataclass(frozen=True)
class EventFunctionArgs:
    """A function, its schedule and its role.

    Attributes:
        kind: last part of the function's name, such as `silent-instances`.
        description: what it does, as Lambda shows it.
        files: file by its path in the package; `handler.py` has the entry point `handle`.
        rules: what the handler reads as JSON from the variable RULES.
        log_group: name of its log group.
        role_arn: role of the function, which must be allowed everything before its first run.
        schedule: EventBridge's expression, such as `rate(5 minutes)`.
        purpose: of a run, as the rules show it.
        event: pattern of the events that run it, too; None = the schedule alone.
    """

    context: AwsContext
    kind: str
    description: str
    files: Mapping[str, Path]
    rules: Mapping[str, Any]
    log_group: pulumi.Input[str]
    role_arn: pulumi.Input[str]
    schedule: str
    purpose: str
    event: Mapping[str, Any] | None = None


class EventFunction(pulumi.ComponentResource):
    """A Lambda function and its rules.

    Outside of the VPC, so that it works, and costs the same, for any `network.nat`: it calls AWS and nothing
    else. Without reserved concurrency: an account whose limit is 10, as new ones have it, may reserve none.

    Attributes:
        function_name: name of the function.
    """

    def __init__(
        self, token: str, name: str, args: EventFunctionArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(token, name, None, opts)
        self._name, self._args = name, args
        function = self._function()
        self._run_by(function, "schedule", name, schedule_expression=args.schedule)
        if args.event is not None:
            pattern = pulumi.Output.json_dumps(args.event)
            self._run_by(function, "event", f"{name}-event", event_pattern=pattern)
        self.function_name = function.name
        self.register_outputs({"function_name": function.name})

    def _function(self) -> aws.lambda_.Function:
        args, own = self._args, pulumi.ResourceOptions(parent=self)
        function = aws.lambda_.Function(
            f"{self._name}-function",
            name=args.context.name(args.kind),
            description=args.description,
            role=args.role_arn,
            runtime=RUNTIME,
            handler="handler.handle",
            # Files by name, so that what else lies in their folders changes nothing.
            code=pulumi.AssetArchive({name: pulumi.FileAsset(str(path)) for name, path in args.files.items()}),
            timeout=TIMEOUT_S,
            memory_size=MEMORY_MIB,
            environment=aws.lambda_.FunctionEnvironmentArgs(
                variables={"RULES": pulumi.Output.json_dumps(dict(args.rules))}
            ),
            logging_config=aws.lambda_.FunctionLoggingConfigArgs(log_format="Text", log_group=args.log_group),
            tags=args.context.tags_for(args.kind),
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

    def _run_by(self, function: aws.lambda_.Function, rule_kind: str, prefix: str, **when: Any) -> None:
        own = pulumi.ResourceOptions(parent=self)
        rule = aws.cloudwatch.EventRule(
            f"{self._name}-{rule_kind}",
            description=self._args.purpose,
            tags=self._args.context.tags_for(self._args.kind),
            opts=own,
            **when,
        )
        permission = aws.lambda_.Permission(
            f"{prefix}-permission",
            function=function.name,
            action="lambda:InvokeFunction",
            principal="events.amazonaws.com",
            source_arn=rule.arn,
            opts=own,
        )
        aws.cloudwatch.EventTarget(
            f"{prefix}-target",
            rule=rule.name,
            arn=function.arn,
            retry_policy=aws.cloudwatch.EventTargetRetryPolicyArgs(
                maximum_event_age_in_seconds=LATE_S, maximum_retry_attempts=2
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[permission]),
        )
