"""`receipt-trainer receipts ocr`: photos as receipts of the words that the reader reads."""

from __future__ import annotations

from pathlib import Path

import click

from receipt_trainer.cli.options import progress_option
from receipt_trainer.cli.render.progress import progress_bar, show_problems
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.load import load_receipts
from receipt_trainer.errors import UserError


@click.command("ocr")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, *.jsonl; it grows page by page, and started again the command goes on where it stopped.",
)
@click.option(
    "--gold",
    help="Receipts with labels, as for --dataset: an image takes those of the receipt that is called as it is.",
)
@progress_option
def command(images: tuple[Path, ...], output: Path, gold: str | None, progress: bool | None) -> None:
    """Write the words that the reader itself reads in images, PDFs and folders of them, as JSON lines.

    A model that trains on them knows the words, boxes and mistakes that it will be given. With --gold they take the
    labels of the words that stand at the same places; without, they have none.
    """
    from receipt_trainer.inference.ocr_receipts import find_images, write_ocr_receipts  # an extra, which help needs not

    if not output.name.endswith(".jsonl"):
        raise UserError(f"{output}: the file to write must be called *.jsonl")
    problems = ProblemLog()
    known = {receipt.name: receipt for receipt in load_receipts(gold, problems)} if gold else {}
    with progress_bar("read", progress) as callback:
        done = write_ocr_receipts(find_images(images), output, known, problems, progress=callback)
    show_problems(problems)
    for reason in done.refused.values():
        click.echo(f"refused: {reason}", err=True)
    click.echo(f"{output}: {done.read} pages read, {done.words} words; {done.unchanged} unchanged")
    if done.with_gold:
        click.echo(f"{done.with_gold} pages have gold; {done.gold_met} of its {done.gold} words were found again")
    elif gold and done.read:
        click.echo("no image is called as a gold receipt is, so no word has a label", err=True)
    if done.refused:
        raise SystemExit(1)
