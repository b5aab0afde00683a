"""Reads the images of a batch, changes them where that is asked for, and makes tensors."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from PIL import Image

from receipt_trainer.config.paddleocr_vl import AugmentationSection
from receipt_trainer.data.augment import Augmenter
from receipt_trainer.data.document_set import VlExample
from receipt_trainer.models.paddleocr_vl.encode import Encoded, collate, encode
from receipt_trainer.pages.images import open_image

_SMALLER: Final = 4
"""Tries to scale an image down until its example fits."""


class VlCollator:
    """Makes a batch of example numbers.

    What augmentation draws depends on the seed, the epoch and the example's id alone, so that a resumed run sees the
    same images.
    """

    def __init__(
        self,
        examples: Sequence[VlExample],
        processor: Any,
        *,
        augmentation: AugmentationSection | None = None,
        seed: int = 0,
        max_length: int | None = None,
    ) -> None:
        """Without augmentation, or with one that is not enabled, images are as they are.

        Args:
            max_length: most tokens of an example; one that fits as it is fits when it is augmented too.
        """
        self._examples = examples
        self._processor = processor
        self._augmenter = Augmenter(augmentation) if augmentation is not None and augmentation.enabled else None
        self._seed, self._max_length = seed, max_length
        self.epoch = 0

    def __call__(self, numbers: Sequence[int]) -> dict[str, Any]:
        """As `receipt_trainer.models.paddleocr_vl.encode.collate` says.

        Raises:
            UserError: an image cannot be read.
        """
        rows = [self._encode(self._examples[number]) for number in numbers]
        return collate(rows, self._processor.tokenizer.pad_token_id)

    def _encode(self, example: VlExample) -> Encoded:
        image = open_image(example.image)
        if self._augmenter is None:
            return _whole(self._processor, example, image)
        changed = self._augmenter.augment(image, self._draw(example))
        for smaller in shrunk(changed, image.width * image.height):
            row = encode(self._processor, example, self._max_length, smaller)
            if row is not None:
                return row
        # A tiny image is scaled up to the least that the model takes: only its own shape has its own length.
        return _whole(self._processor, example, self._augmenter.augment(image, self._draw(example), turn=False))

    def _draw(self, example: VlExample) -> np.random.Generator:
        identity = int.from_bytes(hashlib.sha256(example.id.encode()).digest()[:8])
        return np.random.default_rng((self._seed, self.epoch, identity))


def _whole(processor: Any, example: VlExample, image: Image.Image) -> Encoded:
    row = encode(processor, example, image=image)
    if row is None:
        raise ValueError(f"{example.id} was left out without a limit")
    return row


def shrunk(image: Image.Image, num_pixels: int) -> Iterator[Image.Image]:
    """The image, then scaled down to `num_pixels` if it has more, then smaller by a twentieth of its sides each time.

    A turned page needs a larger canvas and may then have more tokens than before; nothing of it is cut off.
    """
    yield image
    scale = min(1.0, math.sqrt(num_pixels / (image.width * image.height)))
    for _ in range(_SMALLER):
        size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
        yield image.resize(size, Image.Resampling.BICUBIC)
        scale *= 0.95
