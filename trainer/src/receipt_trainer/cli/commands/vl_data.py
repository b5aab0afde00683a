"""`receipt-trainer vl generate`, `import` and `validate-dataset`: data sets of images and their JSON."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import click

from receipt_trainer.cli.options import FILE, FOLDER, FROM_1, PATH, progress_option, split_option
from receipt_trainer.cli.render.tables import progress_bar, show_problems
from receipt_trainer.config.paddleocr_vl import MAX_IMAGE_PIXELS
from receipt_trainer.data.document import DOCUMENT_SCHEMA
from receipt_trainer.data.document_set import VlExample, in_rows, trained_as, with_prompt
from receipt_trainer.data.document_validation import Measure, Validation, load_schema
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.load import read_files
from receipt_trainer.errors import UserError
from receipt_trainer.extraction.document_import import Converter, import_receipts
from receipt_trainer.pages.kinds import refuse_image


@click.command("generate")
@click.option("--count", type=click.IntRange(1, 1_000_000), default=1000, help="How many documents.")
@click.option("--template-set", default="all", metavar="all|NAME,NAME...", help="Layouts to draw.")
@click.option("--languages", default="all", metavar="all|CODE,CODE...", help="Languages to draw, as en,de,pl.")
@click.option(
    "--level",
    type=click.Choice(["clean", "photo", "mixed"]),
    default="clean",
    help="As printed, photographed, or half.",
)
@click.option("--format", "form", type=click.Choice(["jsonl"]), default="jsonl", expose_value=False, help="Of lists.")
@split_option
@click.option("--seed", type=int, default=0, help="The same seed gives the same documents.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that draw; by default one a processor.")
@click.option("--boxes", is_flag=True, help="Write every word's box as well, to receipts.jsonl (level clean only).")
@click.option(
    "--font-dir",
    "font_dirs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    help="Folder with fonts for Japanese and Chinese; by default the system's are looked through.",
)
@click.option("--corpus", type=FILE, help="TOML of your own vendors and products, who write half of the documents.")
@click.option("--output-dir", type=FOLDER, required=True, help="Folder to write.")
@progress_option
def generate_command(
    count: int,
    template_set: str,
    languages: str,
    level: str,
    split: float,
    seed: int,
    workers: int | None,
    **flags: Any,
) -> None:
    """Draw invoices and receipts as images, with the exact truth beside them.

    A run that was stopped resumes when it is started again with the same options.
    """

    from receipt_trainer.data.synthetic.corpus import read_corpus
    from receipt_trainer.data.synthetic.dataset import Plan, generate_dataset
    from receipt_trainer.data.synthetic.layout import TEMPLATES
    from receipt_trainer.data.synthetic.render import drawable, fonts_by_language

    boxes, font_dirs, output_dir = flags["boxes"], flags["font_dirs"], flags["output_dir"]
    names = _names(template_set) or tuple(TEMPLATES)
    unknown = [name for name in names if name not in TEMPLATES]
    if unknown:
        raise UserError(f"--template-set: no template {', '.join(unknown)}; there are all, {', '.join(TEMPLATES)}")
    if boxes and level != "clean":
        raise UserError("--boxes: words are where they were printed only with --level clean")
    codes, left_out = drawable(_names(languages), font_dirs)
    if left_out:
        click.echo(f"left out, no font has their letters: {', '.join(left_out)}", err=True)
    own = flags["corpus"]
    vendors = () if own is None else read_corpus(own, fonts_by_language(codes, font_dirs))
    plan = Plan(seed, tuple(dict.fromkeys(names)), codes, level, split, boxes, font_dirs, vendors)
    with progress_bar("documents", flags["progress"]) as callback:
        done = generate_dataset(output_dir, count, plan, workers=workers or os.cpu_count() or 1, progress=callback)
    click.echo(
        f"{done.count} documents in {output_dir}: {done.count - done.val} in train.jsonl, {done.val} in val.jsonl; "
        f"{done.drawn} drawn now, {done.bytes / done.count / 1000:.1f} kB an image"
    )
    for title, counts in (("templates", done.templates), ("languages", done.languages)):
        click.echo(f"{title}: " + ", ".join(f"{name} {number}" for name, number in sorted(counts.items())))


def _names(text: str) -> tuple[str, ...]:
    """Nothing for "all"."""
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    return () if "all" in parts else parts


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE|FOLDER...")
@click.option(
    "--images", "image_dir", type=FOLDER, required=True, help="Folder of images, each called as the id of its receipt."
)
@click.option("--output-dir", type=FOLDER, required=True, help="Folder to write.")
@click.option("--currency", metavar="CODE", help="ISO 4217 code of all amounts; by default not known.")
@click.option(
    "--decimal-point",
    type=click.Choice([".", ","]),
    help="Decimal separator of all amounts; by default inferred from each amount, where possible.",
)
@click.option(
    "--date-order",
    type=click.Choice(["dmy", "mdy", "ymd"]),
    help="Order of day, month and year in all dates; by default inferred from each date, where possible.",
)
@click.option(
    "--document-type",
    type=click.Choice(["invoice", "receipt"]),
    help="Of what does not say it itself (document_type); by default what its printed words say.",
)
@split_option
@progress_option
def import_command(
    files: tuple[Path, ...],
    image_dir: Path,
    output_dir: Path,
    currency: str | None,
    decimal_point: Literal[".", ","] | None,
    date_order: Literal["dmy", "mdy", "ymd"] | None,
    document_type: Literal["invoice", "receipt"] | None,
    split: float,
    progress: bool | None,
) -> None:
    """Make a data set of images and JSON from labelled receipts and a folder of their images.

    Receipts are JSON lines, or what other programs write, as `receipts import` takes them.

    Missing values are null; ambiguous ones are null and counted. Receipts of one merchant are on one side of the split.
    """

    if currency is not None and not re.fullmatch("[A-Z]{3}", currency):
        raise UserError(f"--currency: {currency!r} is not an ISO 4217 code; give three capital letters, such as EUR")
    problems, converter = ProblemLog(), Converter(currency, decimal_point, date_order, document_type)
    for path in files:
        refuse_image(path)
    receipts = (receipt for path in files for receipt in read_files(path, problems))
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


@click.command("validate-dataset")
@click.option("--input", "path", type=PATH, required=True, help="JSON lines of examples.")
@click.option("--schema", "schema_file", type=PATH, help="JSON Schema of the answers; by default the built-in.")
@click.option(
    "--tokenizer", metavar="MODEL", help="Model or folder whose processor counts tokens; without it nothing does."
)
@click.option("--max-sequence-length", type=FROM_1, default=2048, help="Most tokens of an example; needs --tokenizer.")
@click.option(
    "--max-image-pixels",
    type=click.IntRange(min=28 * 28),
    default=MAX_IMAGE_PIXELS,
    help="Larger images are scaled down to it, as training.max_image_pixels does; needs --tokenizer.",
)
@click.option(
    "--prompt",
    help="What lines without an instruction are asked, as training_config.prompt; needs --tokenizer. "
    "Default: what is stored with it, without that OCR:{}.",
)
@click.option(
    "--compact-items",
    is_flag=True,
    help="Count line items as rows, as training_config.compact_items has them learned; needs --tokenizer.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a problem, and one with the counts at the end.")
def validate_command(
    path: Path,
    schema_file: Path | None,
    tokenizer: str | None,
    max_sequence_length: int,
    max_image_pixels: int,
    prompt: str | None,
    compact_items: bool,
    as_json: bool,
) -> None:
    """List every problem of a data set with line, field and reason; exit code 1 if there are any."""

    schema = DOCUMENT_SCHEMA if schema_file is None else load_schema(schema_file)
    measure = None if tokenizer is None else _measure(tokenizer, max_image_pixels, prompt, rows=compact_items)
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


def _measure(name: str, max_image_pixels: int, prompt: str | None, *, rows: bool) -> Measure:
    """Counts tokens as training does."""
    from receipt_trainer.models.paddleocr_vl.encode import count_tokens
    from receipt_trainer.models.paddleocr_vl.processor import load_processor

    processor = load_processor(name, max_image_pixels=max_image_pixels)
    stored = trained_as(Path(name))

    def measure(example: VlExample) -> int:
        (asked,) = with_prompt([example], prompt or stored.prompt)
        answer = in_rows(asked.output) if rows or stored.compact_items else asked.output
        return count_tokens(processor, replace(asked, output=answer)).total

    return measure
