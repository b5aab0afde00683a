"""Reads the images of a batch, changes them where that is asked for, and makes tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from receipt_trainer.config_vl import AugmentationSection
from receipt_trainer.vl.augment import Augmenter
from receipt_trainer.vl.encode import collate, encode, open_image
from receipt_trainer.vl.examples import VlExample


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
    ) -> None:
        """Without augmentation, or with one that is not enabled, images are as they are."""
        self._examples = examples
        self._processor = processor
        self._augmenter = Augmenter(augmentation) if augmentation is not None and augmentation.enabled else None
        self._seed = seed
        self.epoch = 0

    def __call__(self, numbers: Sequence[int]) -> dict[str, Any]:
        """As `receipt_trainer.vl.encode.collate` says.

        Raises:
            UserError: an image cannot be read.
        """
        rows = []
        for number in numbers:
            example = self._examples[number]
            image = open_image(example.image)
            if self._augmenter is not None:
                image = self._augmenter.augment(image, self._draw(example))
            row = encode(self._processor, example, image=image)
            if row is not None:
                rows.append(row)
        return collate(rows, self._processor.tokenizer.pad_token_id)

    def _draw(self, example: VlExample) -> np.random.Generator:
        identity = int.from_bytes(hashlib.sha256(example.id.encode()).digest()[:8])
        return np.random.default_rng((self._seed, self.epoch, identity))
