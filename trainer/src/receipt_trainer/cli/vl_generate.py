"""`receipt-trainer vl generate`: synthetic invoices and receipts with their truth."""

from __future__ import annotations

from pathlib import Path

import click

from receipt_trainer.cli.show import progress_bar, progress_option


@click.command("generate")
@click.option("--count", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="How many documents.")
@click.option(
    "--template-set", "templates", default="all", show_default=True, metavar="all|NAME,NAME...", help="Layouts to draw."
)
@click.option(
    "--languages", default="all", show_default=True, metavar="all|CODE,CODE...", help="Languages to draw, as en,de,pl."
)
@click.option(
    "--level",
    type=click.Choice(["clean", "photo", "mixed"]),
    default="clean",
    show_default=True,
    help="As printed, as photographed, or half of each.",
)
@click.option("--format", "form", type=click.Choice(["jsonl"]), default="jsonl", show_default=True, help="Of lists.")
@click.option(
    "--split",
    type=click.FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="Share that goes to train.jsonl; the rest goes to val.jsonl.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same documents.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that draw; by default one a processor.")
@click.option("--boxes", is_flag=True, help="Write every word's box as well, to receipts.jsonl (level clean only).")
@click.option(
    "--font-dir",
    "font_dirs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    help="Folder with fonts for Japanese and Chinese; by default the system's are looked through.",
)
@click.option("--output-dir", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write.")
@progress_option
def command(
    count: int,
    templates: str,
    languages: str,
    level: str,
    form: str,
    split: float,
    seed: int,
    workers: int | None,
    boxes: bool,
    font_dirs: tuple[Path, ...],
    output_dir: Path,
    progress: bool | None,
) -> None:
    """Draw invoices and receipts as images, with the exact truth beside them.

    A run that was stopped goes on when it is started again with the same options.
    """
    import os

    from receipt_trainer.errors import UserError
    from receipt_trainer.models.paddleocr_vl.synthetic.dataset import Plan, generate_dataset
    from receipt_trainer.models.paddleocr_vl.synthetic.languages import drawable
    from receipt_trainer.models.paddleocr_vl.synthetic.templates import TEMPLATES

    names = _names(templates) or tuple(TEMPLATES)
    unknown = [name for name in names if name not in TEMPLATES]
    if unknown:
        raise UserError(f"--template-set: no template {', '.join(unknown)}; there are all, {', '.join(TEMPLATES)}")
    if boxes and level != "clean":
        raise UserError("--boxes: words are where they were printed only with --level clean")
    codes, left_out = drawable(_names(languages), font_dirs)
    if left_out:
        click.echo(f"left out for want of a font: {', '.join(left_out)}", err=True)
    plan = Plan(seed, tuple(dict.fromkeys(names)), codes, level, split, boxes, font_dirs)
    with progress_bar("documents", progress) as callback:
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
