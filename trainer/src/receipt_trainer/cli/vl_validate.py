"""`receipt-trainer vl validate-dataset`: all that is wrong with a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from receipt_trainer.config.paddleocr_vl import MAX_IMAGE_PIXELS

if TYPE_CHECKING:
    from receipt_trainer.data.document_validation import Measure


@click.command("validate-dataset")
@click.option("--input", "path", type=click.Path(path_type=Path), required=True, help="JSON lines of examples.")
@click.option(
    "--schema",
    "schema_file",
    type=click.Path(path_type=Path),
    help="JSON Schema of the answers; by default the built-in.",
)
@click.option(
    "--tokenizer", metavar="MODEL", help="Model or folder whose processor counts tokens; without it nothing does."
)
@click.option(
    "--max-sequence-length",
    type=click.IntRange(min=1),
    default=2048,
    show_default=True,
    help="Most tokens of an example; needs --tokenizer.",
)
@click.option(
    "--max-image-pixels",
    type=click.IntRange(min=28 * 28),
    default=MAX_IMAGE_PIXELS,
    show_default=True,
    help="Larger images are scaled down to it, as training.max_image_pixels does; needs --tokenizer.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a problem, and one with the counts at the end.")
def command(
    path: Path,
    schema_file: Path | None,
    tokenizer: str | None,
    max_sequence_length: int,
    max_image_pixels: int,
    as_json: bool,
) -> None:
    """Say line, field and reason of all that is wrong with a data set; exit code 1 if anything is."""
    import json
    from dataclasses import asdict

    from receipt_trainer.data.document import DOCUMENT_SCHEMA
    from receipt_trainer.data.document_validation import Validation, load_schema

    schema = DOCUMENT_SCHEMA if schema_file is None else load_schema(schema_file)
    measure = None if tokenizer is None else _measure(tokenizer, max_image_pixels)
    validation = Validation(path, schema, measure, max_sequence_length)
    for problem in validation.problems():
        click.echo(json.dumps(asdict(problem)) if as_json else f"{path}: {problem}")
    counts = validation.counts
    if as_json:
        click.echo(json.dumps(asdict(counts)))
    else:
        longest = f"; the longest has {counts.longest} tokens" if counts.longest else ""
        click.echo(f"{counts.lines} lines, {counts.sound} sound, {counts.problems} problems{longest}", err=True)
    if counts.problems:
        raise click.exceptions.Exit(1)


def _measure(name: str, max_image_pixels: int) -> Measure:
    """Counts tokens as training does."""
    from receipt_trainer.models.paddleocr_vl.encode import count_tokens
    from receipt_trainer.models.paddleocr_vl.model import load_processor

    processor = load_processor(name, max_image_pixels=max_image_pixels)
    return lambda example: count_tokens(processor, example).total
