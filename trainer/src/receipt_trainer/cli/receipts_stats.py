"""`receipt-trainer receipts stats`: what is in the receipts table."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from receipt_trainer.cli.show import progress_bar, progress_option, show_problems, table_option
from receipt_trainer.cli.stack import stack_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from receipt_trainer.data.receipt import Receipt


@click.command("stats")
@stack_options
@table_option
@progress_option
def command(table: str, progress: bool | None) -> None:
    """Count receipts, words and labels of the receipts table by source, split, name and status; list what is broken.

    Reads the whole table.
    """
    from rich.console import Console

    from receipt_trainer.data.problems import ProblemLog
    from receipt_trainer.data.sources.dynamodb.read import read_all

    problems = ProblemLog()
    with progress_bar("read", progress) as callback:
        receipts = list(read_all(table, problems, progress=callback))
    console = Console()
    console.print(_receipts_table(receipts))
    console.print(_labels_table(receipts))
    show_problems(problems)


def _receipts_table(receipts: Iterable[Receipt]) -> Table:
    from rich.table import Table

    counts: dict[tuple[str, str], Counter[str]] = {}
    for receipt in receipts:
        words = {"words": len(receipt.words), "labelled words": sum(bool(word.labels) for word in receipt.words)}
        row = counts.setdefault((receipt.source, receipt.split), Counter())
        row.update({"receipts": 1, "with VALID": int(receipt.has_valid_label()), **words})
    columns = ("receipts", "with VALID", "words", "labelled words")
    shown = Table("source", "split", title="Receipts")
    for column in columns:
        shown.add_column(column, justify="right")
    for (source, split), row in sorted(counts.items()):
        shown.add_row(source or "-", split or "-", *(f"{row[column]:,}" for column in columns))
    shown.add_section()
    shown.add_row("all", "", *(f"{sum(row[column] for row in counts.values()):,}" for column in columns))
    return shown


def _labels_table(receipts: Iterable[Receipt]) -> Table:
    from rich.table import Table

    from receipt_trainer.contract.names import VALIDATION_STATUSES

    counts = Counter(
        (label.name, label.status) for receipt in receipts for word in receipt.words for label in word.labels
    )
    shown = Table("label", title="Labels")
    for status in VALIDATION_STATUSES:
        shown.add_column(status, justify="right")
    for name in sorted({name for name, _ in counts}):
        shown.add_row(name, *(f"{counts[name, status]:,}" for status in VALIDATION_STATUSES))
    return shown
