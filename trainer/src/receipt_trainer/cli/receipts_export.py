"""`receipt-trainer receipts export`: the receipts table into JSON lines."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from receipt_trainer.cli.show import progress_bar, progress_option, show_problems, table_option
from receipt_trainer.cli.stack import stack_options

if TYPE_CHECKING:
    from receipt_trainer.data.receipt import Receipt


@click.command("export")
@stack_options
@table_option
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File to write, .jsonl or .jsonl.gz; it appears when it is complete. '-' is stdout.",
)
@click.option("--all", "every", is_flag=True, help="All receipts, not only those with a VALID label (reads the table).")
@progress_option
def command(table: str, output: Path, every: bool, progress: bool | None) -> None:
    """Write the receipts of the receipts table as JSON lines, in the order of their keys.

    Only labelled receipts, found through the table's index, unless --all is given.
    """
    from receipt_trainer.data.problems import ProblemLog
    from receipt_trainer.data.sources.dynamodb.read import read_all, read_labelled
    from receipt_trainer.errors import UserError

    to_stdout = str(output) == "-"
    if not to_stdout and not output.name.endswith((".jsonl", ".jsonl.gz")):
        raise UserError(f"{output}: the file to write must be called *.jsonl or *.jsonl.gz")
    problems = ProblemLog()
    with progress_bar("export", progress) as callback:
        receipts = (read_all if every else read_labelled)(table, problems, progress=callback)
        count = _to_stdout(receipts) if to_stdout else _to_file(receipts, output)
    show_problems(problems)
    click.echo(f"{count} receipts of {table} written to {'stdout' if to_stdout else output}", err=True)


def _to_stdout(receipts: Iterable[Receipt]) -> int:
    from receipt_trainer.data.sources.jsonl import to_line

    count = 0
    for count, receipt in enumerate(receipts, start=1):  # noqa: B007 - the count is what we want
        click.echo(to_line(receipt).encode(), nl=False)
    return count


def _to_file(receipts: Iterable[Receipt], output: Path) -> int:
    """Write beside `output` and rename: a stopped export leaves no half a file under the name."""
    from receipt_trainer.data.sources.jsonl import to_line
    from receipt_trainer.errors import UserError
    from receipt_trainer.files import open_text

    beside = output.with_name(f".{os.getpid()}.{output.name}")
    count = 0
    try:
        with open_text(beside, "w") as stream:
            for count, receipt in enumerate(receipts, start=1):  # noqa: B007 - the count is what we want
                stream.write(to_line(receipt))
        beside.replace(output)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror or error}") from None
    finally:
        beside.unlink(missing_ok=True)
    return count
