"""`layoutlm-cli`: train a model, look at it, use it."""

from __future__ import annotations

from pathlib import Path

import click

import receipt_trainer
from receipt_trainer.cli.lazy import LazyCommand, LazyGroup, run

_COMMANDS = {
    "train": LazyCommand(".commands.train:command", "Fine-tune LayoutLM on labelled receipts."),
    "evaluate": LazyCommand(".commands.evaluate:evaluate_command", "Score a trained model on labelled receipts."),
    "predict": LazyCommand(".commands.predict:command", "Read fields from receipts: JSON lines in and out."),
    "export": LazyCommand(".commands.train:export_command", "Make the package that `receipt-trainer read` needs."),
    "label-counts": LazyCommand(".commands.train:label_counts_command", "Count receipts, words and labels a split."),
    "spot-check": LazyCommand(".commands.evaluate:spot_check_command", "Predictions beside VALID labels, one receipt."),
    "report": LazyCommand(".commands.train:report_command", "Write and print the report of a run."),
}


@click.group("layoutlm-cli", cls=LazyGroup, lazy_commands=_COMMANDS)
@click.version_option(
    receipt_trainer.__version__,
    message=f"layoutlm-cli {receipt_trainer.__version__} ({Path(receipt_trainer.__file__).parent})",
)
def group() -> None:
    """Train LayoutLM on receipts, score it and read receipts with it."""


def main() -> None:
    """Entry point of the console script."""
    run(group)


if __name__ == "__main__":
    main()
