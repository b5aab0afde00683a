"""The demo's stack: find the Pulumi program, create what it asks for on the embedded AWS, and show it."""

from __future__ import annotations

import importlib.util
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import receipt_trainer
from receipt_trainer.contract import names
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from receipt_trainer.contract.outputs import StackOutputs
    from receipt_trainer.local.emulator import LocalCloud
    from receipt_trainer.local.resources import Deployment

STACK: Final = "dev"

_SHOWN: Final = {
    "aws:dynamodb/table:Table": "table",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:sqs/queue:Queue": "queue",
    "aws:ssm/parameter:Parameter": "parameter",
    "aws:efs/fileSystem:FileSystem": "file system",
    "aws:cloudwatch/logGroup:LogGroup": "log group",
    "aws:autoscaling/group:Group": "worker pool",
}
"""The types that people look up by name."""


def find_program(given: Path | None) -> Path:
    """The folder of the stack's program: the given one, else this one, else the clone that we are installed from.

    Raises:
        UserError: there is none; or what running it needs is not installed.
    """
    if importlib.util.find_spec("pulumi_aws") is None:
        raise UserError("the stack's program needs pulumi: pip install 'receipt-trainer[local]'")
    from receipt_trainer.local.stack_config import read_yaml

    clone = Path(receipt_trainer.__file__).parents[3]  # <clone>/trainer/src/receipt_trainer
    candidates = [given] if given else [Path.cwd(), clone]
    for folder in candidates:
        if read_yaml(folder / "Pulumi.yaml").get("name") == names.PROJECT:
            return folder.resolve()
    where = f"--program {given}" if given else "here"
    raise UserError(
        f"{where}: no Pulumi.yaml named {names.PROJECT}; run it in a clone of the repository, or give --program"
    )


def stand_up(folder: Path, cloud: LocalCloud, console: Console, *, details: bool = True) -> StackOutputs:
    """Run the program for the stack `dev`, and say so; the outputs.

    Args:
        details: print what was created and what was only recorded, and why.
    """
    from receipt_trainer.local.resources import provision

    started = time.monotonic()
    with console.status("running the stack's program"):
        deployment = provision(folder, cloud, stack=STACK)
    console.print(
        f"stack {STACK} of {folder} on the embedded AWS at {cloud.endpoint}: {len(deployment.created)} resources "
        f"created in {time.monotonic() - started:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    if details:
        _show_created(deployment, console)
        _show_recorded(deployment, console)
    return deployment.outputs


def _show_created(deployment: Deployment, console: Console) -> None:
    from rich.table import Table

    table = Table("created", "in the program", "on the embedded AWS", box=None, pad_edge=False)
    for token, kind in _SHOWN.items():
        for resource in deployment.created:
            if resource.type == token:
                table.add_row(kind, resource.name, resource.physical)
    console.print(table, highlight=False, soft_wrap=True)
    table = Table("also created", "", box=None, pad_edge=False)
    for service, kinds in _by_service(one.type for one in deployment.created if one.type not in _SHOWN).items():
        table.add_row(service, kinds)
    console.print(table, highlight=False)


def _show_recorded(deployment: Deployment, console: Console) -> None:
    from rich.table import Table

    table = Table("only recorded", "because", box=None, pad_edge=False)
    for reason in sorted({one.reason for one in deployment.recorded}):
        found = _by_service(one.type for one in deployment.recorded if one.reason == reason)
        table.add_row("; ".join(f"{service}: {kinds}" for service, kinds in found.items()), reason)
    console.print(table, highlight=False)
    console.print()


def _by_service(tokens: Iterable[str]) -> dict[str, str]:
    """`{"ec2": "4 Subnet, 1 Vpc"}` of tokens such as `aws:ec2/subnet:Subnet`."""
    counts: dict[str, Counter[str]] = {}
    for token in tokens:
        _, module, kind = token.split(":")
        counts.setdefault(module.partition("/")[0], Counter())[kind] += 1
    return {
        service: ", ".join(f"{count} {kind}" for kind, count in counts[service].most_common())
        for service in sorted(counts)
    }
