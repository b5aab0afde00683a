"""Measures the CPU time that a training image takes: decoded, augmented, made patches.

The image is a drawn page of 3000 x 4000 pixels with the grain of a camera, as a JPEG.

    python -m benchmarks.vl_images
"""

from __future__ import annotations

import io
import time

import click
import numpy as np

BOUND = 752_640
ROOM = 1.2


@click.command()
@click.option("--times", default=3, show_default=True)
def main(times: int) -> None:
    from PIL import Image, ImageDraw
    from transformers.models.paddleocr_vl.image_processing_pil_paddleocr_vl import PaddleOCRVLImageProcessorPil

    from receipt_trainer.config.paddleocr_vl import AugmentationSection
    from receipt_trainer.data.augment import Augmenter, add_noise
    from receipt_trainer.pages.images import open_image

    page = Image.new("RGB", (3000, 4000), (236, 232, 225))
    for row in range(60):
        ImageDraw.Draw(page).text((200, 60 * row + 100), f"ROW {row} OF THE PAGE {row * 1.17:.2f}", (40, 40, 45), None)
    stored = io.BytesIO()
    add_noise(page, 0.02, np.random.default_rng(0)).save(stored, "JPEG", quality=90)
    processor = PaddleOCRVLImageProcessorPil()
    processor.size = {"shortest_edge": 147_384, "longest_edge": BOUND}
    augmenter = Augmenter(AugmentationSection(enabled=True))
    for name, around in (("at its own size", None), ("scaled before", ROOM * BOUND)):
        seconds = []
        for number in range(times):
            start = time.process_time()
            image = open_image(stored.getvalue(), around=around)
            processor(images=augmenter.augment(image, np.random.default_rng(number)), return_tensors="pt")
            seconds.append(time.process_time() - start)
        click.echo(f"{name}: {min(seconds):.2f} to {max(seconds):.2f} CPU s")


if __name__ == "__main__":
    main()
