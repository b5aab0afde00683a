"""Measures the share of a PaddleOCR-VL data set that is longer than a sequence, by the bound on an image's pixels.

Image tokens by the model's own rule of sizes; texts estimated by letters a token, or counted
by a public encoding of like size, because the model's own tokenizer is not at hand.

    receipt-trainer vl generate --count 200 --output-dir DIR
    python -m benchmarks.vl_lengths DIR/train.jsonl
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import click

BOUNDS = (2_822_400, 1_003_520, 802_816, 752_640, 702_464)
MIN_PIXELS = 147_384
PATCH, MERGE = 14, 2
TEMPLATE_TOKENS = 10


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path, exists=True))
@click.option("--letters-a-token", type=float, default=3.0, show_default=True)
@click.option("--encoding", help="Count with this encoding of tiktoken instead (pip install tiktoken).")
@click.option("--max-sequence-length", type=int, default=2048, show_default=True)
@click.option("--compact-items", is_flag=True, help="Line items as rows, as training with this key has them.")
def main(
    dataset: Path, letters_a_token: float, encoding: str | None, max_sequence_length: int, compact_items: bool
) -> None:
    from PIL import Image
    from transformers.models.paddleocr_vl.image_processing_pil_paddleocr_vl import smart_resize

    from receipt_trainer.data.document_set import in_rows, read_examples

    def tokens(text: str) -> float:
        return (
            len(text) / letters_a_token
            if encoding is None
            else len(import_module("tiktoken").get_encoding(encoding).encode(text))
        )

    side = PATCH * MERGE
    examples = read_examples(dataset)
    if compact_items:
        compact = [replace(example, output=in_rows(example.output)) for example in examples]
        for name, size in (("letters", len), ("tokens", tokens))[: 2 if encoding else 1]:
            before, after = (sum(size(example.output) for example in some) for some in (examples, compact))
            click.echo(f"line items as rows: {1 - after / before:.1%} of the {name} of all answers saved")
        examples = compact
    for bound in BOUNDS:
        lengths = []
        for example in examples:
            with Image.open(example.image) as image:
                width, height = image.size
            rows, columns = smart_resize(height, width, side, MIN_PIXELS, bound)
            answer = tokens(example.instruction + example.output)
            lengths.append(rows * columns // side**2 + TEMPLATE_TOKENS + answer)
        share = sum(length > max_sequence_length for length in lengths) / len(lengths)
        median = sorted(lengths)[len(lengths) // 2]
        click.echo(f"{bound:9,} pixels: {share:6.1%} longer than {max_sequence_length}, median {median:.0f} tokens")


if __name__ == "__main__":
    main()
