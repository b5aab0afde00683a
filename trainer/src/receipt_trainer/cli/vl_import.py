"""`receipt-trainer vl import`: labelled receipts and their images as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from receipt_trainer.cli.show import progress_bar, progress_option, show_problems


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE...")
@click.option(
    "--images",
    "image_dir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of images, each called as the id of its receipt.",
)
@click.option("--output-dir", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write.")
@click.option("--currency", metavar="CODE", help="ISO 4217 code of all amounts; by default not known.")
@click.option(
    "--decimal-point", type=click.Choice([".", ","]), help="Of all amounts; by default told from each, if it can be."
)
@click.option(
    "--date-order", type=click.Choice(["dmy", "mdy", "ymd"]), help="Of all dates; by default told from each likewise."
)
@click.option(
    "--split",
    type=click.FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="Share that goes to train.jsonl; the rest goes to val.jsonl. Receipts of one merchant stay together.",
)
@progress_option
def command(
    files: tuple[Path, ...],
    image_dir: Path,
    output_dir: Path,
    currency: str | None,
    decimal_point: Literal[".", ","] | None,
    date_order: Literal["dmy", "mdy", "ymd"] | None,
    split: float,
    progress: bool | None,
) -> None:
    """Make a data set of images and JSON from labelled receipts (JSON lines) and a folder of their images.

    What the labels do not say is null; what has more than one reading is null and counted.
    """
    import re

    from receipt_trainer.data.problems import ProblemLog
    from receipt_trainer.data.sources.jsonl import read_jsonl
    from receipt_trainer.errors import UserError
    from receipt_trainer.extraction.documents import Converter, import_receipts

    if currency is not None and not re.fullmatch("[A-Z]{3}", currency):
        raise UserError(f"--currency: {currency!r} is no ISO 4217 code; three capital letters, as EUR")
    problems, converter = ProblemLog(), Converter(currency, decimal_point, date_order)
    receipts = (receipt for path in files for receipt in read_jsonl(path, problems))
    with progress_bar("receipts", progress) as callback:
        done = import_receipts(receipts, image_dir, output_dir, converter, split=split, progress=callback)
    show_problems(problems)
    click.echo(f"{output_dir}: {done.train} receipts in train.jsonl, {done.val} in val.jsonl")
    if done.without_image:
        click.echo(f"left out: {done.without_image} receipts without an image in {image_dir}")
    total = done.train + done.val
    click.echo("fields: " + ", ".join(f"{key} {count}/{total}" for key, count in converter.given.items()))
    never = [key for key in converter.fields if key not in converter.given]
    if never:
        click.echo(f"null in all, which a model trained on them learns: {', '.join(never)}", err=True)
    for reason, count in sorted(converter.counts.items()):
        click.echo(f"{count} x {reason}", err=True)
