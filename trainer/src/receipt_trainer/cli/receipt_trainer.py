"""`receipt-trainer`: the command line of the receipts and what is around training."""

from __future__ import annotations

from typing import Final

import click

from receipt_trainer.cli.lazy import LazyCommand, LazyGroup, run

_ROOM: Final = "receipt_trainer.cli"

receipts = LazyGroup(
    name="receipts",
    help="Move receipts into and out of the receipts table, and look at them.",
    lazy_commands={
        "import": LazyCommand(f"{_ROOM}.receipts_import:command", "JSON lines files into the receipts table."),
        "export": LazyCommand(f"{_ROOM}.receipts_export:command", "The receipts table into a JSON lines file."),
        "stats": LazyCommand(f"{_ROOM}.receipts_stats:command", "Count receipts, words, labels and problems."),
        "generate": LazyCommand(f"{_ROOM}.receipts_generate:command", "Synthetic receipts as JSON lines."),
    },
)


@click.group(
    "receipt-trainer",
    cls=LazyGroup,
    lazy_commands={
        "demo": LazyCommand(f"{_ROOM}.demo:command", "The whole job on this machine, on an embedded AWS."),
        "receipts": LazyCommand(f"{_ROOM}.receipt_trainer:receipts", "Receipts in, out, and counted."),
    },
)
@click.version_option(package_name="receipt-trainer")
def group() -> None:
    """Receipts for training LayoutLM: in DynamoDB, in JSON lines, in figures."""


def main() -> None:
    """Entry point of `receipt-trainer`."""
    run(group)
