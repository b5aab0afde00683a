"""`receipt-trainer receipts import`: JSON lines into the receipts table."""

from __future__ import annotations

from pathlib import Path

import click

from receipt_trainer.cli.show import progress_bar, progress_option, show_problems, table_option
from receipt_trainer.cli.stack import stack_options


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE...")
@stack_options
@table_option
@progress_option
@click.option("--dry-run", is_flag=True, help="Read the files and the table, say what would be done, write nothing.")
def command(files: tuple[Path, ...], table: str, progress: bool | None, dry_run: bool) -> None:
    """Put the receipts of JSON lines files (.jsonl, .jsonl.gz) into the receipts table.

    Receipts that are there already and have not changed are skipped, so an import that was stopped is completed by
    running it again. A receipt that has changed is replaced. Labels that a person set in the table are kept.
    """
    from receipt_trainer.data.problems import ProblemLog
    from receipt_trainer.data.sources.dynamodb.write import import_receipts
    from receipt_trainer.data.sources.jsonl import read_jsonl

    problems = ProblemLog()
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
