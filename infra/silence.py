"""Silent instances: a scheduled function ends those that nobody has heard of for too long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi

from infra.boot import BootEnv
from infra.event_function import EventFunction, EventFunctionArgs
from infra.naming import Naming
from receipt_trainer.contract import liveness, metrics
from receipt_trainer.contract.outputs import PoolName

HANDLER: Final = Path(__file__).resolve().parent / "functions" / "silent_instances" / "handler.py"
"""Never imported here: it runs in Lambda, whose Python has boto3."""


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


class SilentInstances(EventFunction):
    """The function that ends silent instances, and its schedule."""

    def __init__(self, name: str, args: SilentInstancesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        prefix = args.naming.prefix
        function = EventFunctionArgs(
            naming=args.naming,
            kind="silent-instances",
            description=f"Ends workers of {prefix} that nobody has heard of",
            files={"handler.py": HANDLER},
            rules=_rules(args),
            log_group=args.log_group,
            role_arn=args.role_arn,
            schedule=f"rate({liveness.LOOK_EVERY_MIN} minutes)",
            purpose=f"Looks for silent workers of {prefix}",
        )
        super().__init__("receipts:infra:SilentInstances", name, function, opts)


def _rules(args: SilentInstancesArgs) -> dict[str, Any]:
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
