"""A small function of our files that a schedule runs, and an event if it says so; and its role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component, named
from infra.iam import role
from receipt_trainer import contract

CONTRACT: Final = Path(contract.__file__).resolve().parent
"""Files that a function shares with commands on a laptop."""
RUNTIME: Final = "python3.13"
TIMEOUT_S: Final = 120
MEMORY_MIB: Final = 256
LATE_S: Final = 300
"""A run that is later than this is not taken: the next one does the same."""


@dataclass(frozen=True)
class EventFunctionArgs:
    """A function, its schedule and its role.

    Attributes:
        kind: last part of the function's name, such as `silent-instances`.
        description: what it does, as Lambda shows it.
        files: file by its path in the package; `handler.py` has the entry point `handle`.
        rules: what the handler reads as JSON from the variable RULES.
        role_component, role_kind, allowed: component, tag and policy of its role.
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
    role_component: str
    role_kind: str
    allowed: pulumi.Input[str]
    schedule: str
    purpose: str
    event: Mapping[str, Any] | None = None


class EventFunction(Component[EventFunctionArgs]):
    """A Lambda function and its rules; its role is a component of its own, beside it.

    Outside of the VPC, so that it works, and costs the same, for any `network.nat`: it calls AWS and nothing
    else. Without reserved concurrency: an account whose limit is 10, as new ones have it, may reserve none.
    """

    def __init__(self, name: str, args: EventFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        role_arn = _Role(name, args, kind=args.role_component).role_arn
        super().__init__(name, args, opts)
        function = aws.lambda_.Function(
            f"{name}-function",
            name=args.context.name(args.kind),
            description=args.description,
            role=role_arn,
            runtime=RUNTIME,
            handler="handler.handle",
            # Files by name, so that what else lies in their folders changes nothing.
            code=pulumi.AssetArchive({file: pulumi.FileAsset(str(path)) for file, path in args.files.items()}),
            timeout=TIMEOUT_S,
            memory_size=MEMORY_MIB,
            environment={"variables": {"RULES": pulumi.Output.json_dumps(dict(args.rules))}},
            logging_config={"log_format": "Text", "log_group": args.log_group},
            tags=args.context.tags_for(args.kind),
            opts=named(self),
        )
        aws.lambda_.FunctionEventInvokeConfig(
            f"{name}-no-retries",
            function_name=function.name,
            maximum_event_age_in_seconds=LATE_S,
            maximum_retry_attempts=0,
            opts=self._child,
        )
        self._run_by(function, f"{name}-schedule", name, schedule_expression=args.schedule)
        if args.event is not None:
            pattern = pulumi.Output.json_dumps(args.event)
            self._run_by(function, f"{name}-event", f"{name}-event", event_pattern=pattern)
        self.function_name = function.name
        self.register_outputs({"function_name": function.name})

    def _run_by(self, function: aws.lambda_.Function, rule_name: str, prefix: str, **when: Any) -> None:
        args = self._args
        rule = aws.cloudwatch.EventRule(
            rule_name, description=args.purpose, tags=args.context.tags_for(args.kind), opts=self._child, **when
        )
        permission = aws.lambda_.Permission(
            f"{prefix}-permission",
            function=function.name,
            action="lambda:InvokeFunction",
            principal="events.amazonaws.com",
            source_arn=rule.arn,
            opts=self._child,
        )
        aws.cloudwatch.EventTarget(
            f"{prefix}-target",
            rule=rule.name,
            arn=function.arn,
            retry_policy={"maximum_event_age_in_seconds": LATE_S, "maximum_retry_attempts": 2},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[permission]),
        )


class _Role(Component[EventFunctionArgs]):
    """Role of one function of the stack, with one policy; its ARN is known once its policy is there."""

    def __init__(self, name: str, args: EventFunctionArgs, kind: str) -> None:
        super().__init__(name, args, None, kind)
        made = role(self, f"{name}-role", args.context, args.role_kind, "lambda.amazonaws.com")
        policy = aws.iam.RolePolicy(f"{name}-policy", role=made.id, policy=args.allowed, opts=self._child)
        self.role_arn = pulumi.Output.all(made.arn, policy.id).apply(lambda known: str(known[0]))
        self.register_outputs({"role_arn": self.role_arn})
