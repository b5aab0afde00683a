"""`receipt-trainer receipts`: the receipts table filled, exported, counted; synthetic receipts."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from receipt_trainer.cli.options import progress_option, receipts_table_option
from receipt_trainer.cli.render.progress import progress_bar, show_problems
from receipt_trainer.cli.stack import stack_options
from receipt_trainer.contract.names import VALIDATION_STATUSES
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.dynamodb.read import read_all, read_labelled
from receipt_trainer.data.sources.dynamodb.write import import_receipts
from receipt_trainer.data.sources.jsonl import read_jsonl, to_line, to_record
from receipt_trainer.errors import UserError
from receipt_trainer.files import open_text
from receipt_trainer.pages.kinds import refuse_image


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE...")
@stack_options
@receipts_table_option
@progress_option
@click.option("--dry-run", is_flag=True, help="Read the files and the table, say what would be done, write nothing.")
def import_command(files: tuple[Path, ...], table: str, progress: bool | None, dry_run: bool) -> None:
    """Put the receipts of JSON lines files (.jsonl, .jsonl.gz) into the receipts table.

    Receipts that are there already and have not changed are skipped, so an import that was stopped is completed by
    running it again. A receipt that has changed is replaced. Labels that a person set in the table are kept.
    """

    problems = ProblemLog()
    for path in files:
        refuse_image(path)
    receipts = [receipt for path in files for receipt in read_jsonl(path, problems)]
    with progress_bar("import", progress) as callback:
        done = import_receipts(table, receipts, problems, dry_run=dry_run, progress=callback)
    show_problems(problems)
    if done.labels_of_people_kept:
        click.echo(f"{done.labels_of_people_kept} labels set by people were kept as they are", err=True)
    verb = "would be " if dry_run else ""
    click.echo(
        f"{table}: {done.written} receipts {verb}written, {done.replaced} {verb}replaced, {done.unchanged} unchanged; "
        f"{done.items_put} items {verb}put, {done.items_deleted} {verb}deleted"
    )


@click.command("export")
@stack_options
@receipts_table_option
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File to write, .jsonl or .jsonl.gz; it appears when it is complete. '-' is stdout.",
)
@click.option("--all", "every", is_flag=True, help="All receipts, not only those with a VALID label (reads the table).")
@progress_option
def export_command(table: str, output: Path, every: bool, progress: bool | None) -> None:
    """Write the receipts of the receipts table as JSON lines, in the order of their keys.

    Only labelled receipts, found through the table's index, unless --all is given.
    """

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
    count = 0
    for count, receipt in enumerate(receipts, start=1):  # noqa: B007 - the count is what we want
        click.echo(to_line(receipt).encode(), nl=False)
    return count


def _to_file(receipts: Iterable[Receipt], output: Path) -> int:
    """Write beside `output` and rename: a stopped export leaves no half a file under the name."""

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


@click.command("stats")
@stack_options
@receipts_table_option
@progress_option
def stats_command(table: str, progress: bool | None) -> None:
    """Count receipts, words and labels of the receipts table by source, split, name and status; list what is broken.

    Reads the entire table.
    """

    problems = ProblemLog()
    with progress_bar("read", progress) as callback:
        receipts = list(read_all(table, problems, progress=callback))
    console = Console()
    console.print(_receipts_table(receipts))
    console.print(_labels_table(receipts))
    show_problems(problems)


def _receipts_table(receipts: Iterable[Receipt]) -> Table:
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
    counts = Counter(
        (label.name, label.status) for receipt in receipts for word in receipt.words for label in word.labels
    )
    shown = Table("label", title="Labels")
    for status in VALIDATION_STATUSES:
        shown.add_column(status, justify="right")
    for name in sorted({name for name, _ in counts}):
        shown.add_row(name, *(f"{counts[name, status]:,}" for status in VALIDATION_STATUSES))
    return shown


@click.command("generate")
@click.option("--count", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="Number of receipts.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same receipts anywhere.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write, JSON lines; gzipped if it is called *.gz.",
)
def generate_command(count: int, seed: int, output: Path) -> None:
    """Write synthetic receipts with exact labels, for trying things out without data of your own."""
    from receipt_trainer.data.synthetic import generate

    beside = output.with_name(f".{os.getpid()}.{output.name}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open_text(beside, "w") as stream:
                for receipt in generate(count, seed):
                    stream.write(json.dumps(to_record(receipt), ensure_ascii=False, separators=(",", ":")) + "\n")
            beside.replace(output)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot write receipts: {error.strerror or error}") from None
    click.echo(f"{count} receipts in {output}")
