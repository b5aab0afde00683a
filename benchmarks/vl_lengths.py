"""Measures the share of a PaddleOCR-VL data set that is longer than a sequence, by the bound on an image's pixels.

Image tokens by the model's own rule of sizes; texts estimated by letters a token, because no tokenizer is at hand.

    receipt-trainer vl generate --count 200 --output-dir DIR
    python -m benchmarks.vl_lengths DIR/train.jsonl
"""

from __future__ import annotations

from pathlib import Path

import click

BOUNDS = (2_822_400, 1_003_520, 802_816, 752_640, 702_464)
MIN_PIXELS = 147_384
PATCH, MERGE = 14, 2
TEMPLATE_TOKENS = 10


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path, exists=True))
@click.option("--letters-a-token", type=float, default=3.0, show_default=True)
@click.option("--max-sequence-length", type=int, default=2048, show_default=True)
def main(dataset: Path, letters_a_token: float, max_sequence_length: int) -> None:
    from PIL import Image
    from transformers.models.paddleocr_vl.image_processing_pil_paddleocr_vl import smart_resize

    from receipt_trainer.data.document_set import read_examples

    side = PATCH * MERGE
    examples = read_examples(dataset)
    for bound in BOUNDS:
        lengths = []
        for example in examples:
            with Image.open(example.image) as image:
                width, height = image.size
            rows, columns = smart_resize(height, width, side, MIN_PIXELS, bound)
            letters = len(example.instruction) + len(example.output)
            lengths.append(rows * columns // side**2 + TEMPLATE_TOKENS + letters / letters_a_token)
        share = sum(length > max_sequence_length for length in lengths) / len(lengths)
        median = sorted(lengths)[len(lengths) // 2]
        click.echo(f"{bound:9,} pixels: {share:6.1%} longer than {max_sequence_length}, median {median:.0f} tokens")


if __name__ == "__main__":
    main()
