"""Steps of decoding that batches of pages take, by what pages are sorted by: a batch waits for its longest answer.

    receipt-trainer vl generate --count 240 --split 0 --level mixed --output-dir DIR
    python -m benchmarks.vl_batches DIR/val.jsonl

A step is taken as a letter of the true answer (of the longest in each batch). Pages wait in windows of so many batches
and are sorted within each, as `vl predict` does it by `fullness`. The last column is the rank correlation of what is
sorted by with the length of the true answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click


def steps(lengths: Sequence[int], keys: Sequence[float], batch: int, window: int) -> int:
    """Sum of the longest of each batch."""
    total = 0
    for start in range(0, len(lengths), batch * window):
        places = range(start, min(len(lengths), start + batch * window))
        ordered = sorted(places, key=lambda place: keys[place])
        total += sum(
            max(lengths[place] for place in ordered[first : first + batch]) for first in range(0, len(ordered), batch)
        )
    return total


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path, exists=True))
@click.option("--batch", "batches", type=int, multiple=True, default=(4, 16), show_default=True)
@click.option("--max-image-pixels", type=int, default=752_640, show_default=True)
def main(dataset: Path, batches: Sequence[int], max_image_pixels: int) -> None:
    import numpy as np
    from transformers.models.paddleocr_vl.image_processing_pil_paddleocr_vl import smart_resize

    from receipt_trainer.data.document_set import read_examples
    from receipt_trainer.inference.document_answers import fullness
    from receipt_trainer.pages.images import open_image

    examples = read_examples(dataset)
    lengths = [len(example.output) for example in examples]
    keys: dict[str, list[float]] = {"image tokens": [], "fullness": []}
    for example in examples:
        image = open_image(example.image)
        rows, columns = smart_resize(image.height, image.width, 28, 147_384, max_image_pixels)
        keys["image tokens"].append(rows * columns / 28**2)
        keys["fullness"].append(fullness(image))
    keys["true answer"] = [float(length) for length in lengths]
    for batch in batches:
        before = steps(lengths, list(range(len(lengths))), batch, 1)
        click.echo(f"batches of {batch}: {before:,} steps in the order of the files")
        for name, values in keys.items():
            saved = (f"{1 - steps(lengths, values, batch, window) / before:6.1%}" for window in (2, 4, 8))
            ranks = [np.argsort(np.argsort(np.array(one, dtype=float))) for one in (values, lengths)]
            correlation = np.asarray(np.corrcoef(ranks[0], ranks[1])).item(1)
            click.echo(f"  by {name:12} saved in windows of 2, 4, 8 batches: {' '.join(saved)}   {correlation:.2f}")


if __name__ == "__main__":
    main()
