"""`receipt-trainer receipts generate`: synthetic receipts as JSON lines."""

from __future__ import annotations

from pathlib import Path

import click


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
def command(count: int, seed: int, output: Path) -> None:
    """Write synthetic receipts with exact labels, for trying things out without data of your own."""
    import json
    import os

    from receipt_trainer.data.sources.jsonl import to_record
    from receipt_trainer.data.synthetic import generate
    from receipt_trainer.errors import UserError
    from receipt_trainer.files import open_text

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
