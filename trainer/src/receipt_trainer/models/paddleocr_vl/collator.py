"""In which order examples are seen, and batches of them: images read, changed where that is asked for, made tensors."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from receipt_trainer.config.paddleocr_vl import AugmentationSection
from receipt_trainer.data.augment import Augmenter
from receipt_trainer.data.document_set import VlExample, with_some_fields
from receipt_trainer.models.paddleocr_vl.encode import Encoded, collate, encode
from receipt_trainer.models.paddleocr_vl.vision_features import VisionFeatures
from receipt_trainer.pages.images import open_image
from receipt_trainer.training.trainer import EpochBatches

_ROOM: Final = 1.2
"""Pixels before augmentation, as a factor of the model's bound: the page is scaled down to the bound afterwards."""
_FIELDS: Final = 1
"""Marks the draws of fields apart from those of augmentation."""
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
        features: VisionFeatures | None = None,
        field_subsets: float = 0.0,
    ) -> None:
        """Without augmentation, or with one that is not enabled, images are as they are.

        Args:
            features: of images that are as they are: one that is stored there is not opened again.
            field_subsets: share of the examples that ask for some of their fields, drawn as augmentation is.
            max_length: most tokens of an example; one that fits as it is fits when it is augmented too.
        """
        self._examples = examples
        self._processor = processor
        self._augmenter = Augmenter(augmentation) if augmentation is not None and augmentation.enabled else None
        self._seed, self._max_length, self._field_subsets = seed, max_length, field_subsets
        self._grids = None if features is None else features.grids
        self.epoch = 0

    def __call__(self, numbers: Sequence[int]) -> dict[str, Any]:
        """As `receipt_trainer.models.paddleocr_vl.encode.collate` says, and `numbers`, where features are stored.

        Raises:
            UserError: an image cannot be read.
        """
        rows = [self._encode(number) for number in numbers]
        batch = collate(rows, self._processor.tokenizer.pad_token_id)
        if self._grids is not None:
            batch["numbers"] = [
                (number, row.pixel_values is not None) for number, row in zip(numbers, rows, strict=True)
            ]
        return batch

    def _encode(self, number: int) -> Encoded:
        example = self._examples[number]
        if self._field_subsets:
            draw = self._draw(example, _FIELDS)
            example = with_some_fields(example, draw) if draw.random() < self._field_subsets else example
        if self._augmenter is None:
            grid = None if self._grids is None else self._grids[number : number + 1].clone()
            if grid is not None and grid.all():
                return _whole(self._processor, example, grid=grid)
            return _whole(self._processor, example)
        most = self._processor.image_processor.size["longest_edge"]  # in pixels, whatever it is called
        image = open_image(example.image, around=_ROOM * most)
        changed = self._augmenter.augment(image, self._draw(example))
        for smaller in shrunk(changed, image.width * image.height):
            row = encode(self._processor, example, self._max_length, smaller)
            if row is not None:
                return row
        # A tiny image is scaled up to the least that the model takes: only its own shape has its own length.
        image = open_image(example.image)
        return _whole(self._processor, example, image=self._augmenter.augment(image, self._draw(example), turn=False))

    def _draw(self, example: VlExample, *purpose: int) -> np.random.Generator:
        identity = int.from_bytes(hashlib.sha256(example.id.encode()).digest()[:8])
        return np.random.default_rng((self._seed, self.epoch, identity, *purpose))


def _whole(processor: Any, example: VlExample, **given: Any) -> Encoded:
    row = encode(processor, example, **given)
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


Schedule = Literal["none", "easy_to_hard"]
_WINDOW: Final = 16
"""Batches whose examples are sorted by length among themselves: little padding, and an order that is still random."""


def difficulties(examples: Sequence[VlExample]) -> NDArray[np.float64]:
    """How hard each example is, 0 to 1: as the data set says, or, where it does not say so for all, half by the
    number of line items and half by the length of the answer, each as a share of the largest.
    """
    given = [example.difficulty for example in examples]
    if all(value is not None for value in given):
        return np.asarray(given, dtype=np.float64)
    items = np.asarray([_num_items(example.output) for example in examples], dtype=np.float64)
    letters = np.asarray([len(example.output) for example in examples], dtype=np.float64)
    shares: NDArray[np.float64] = (items / max(items.max(), 1) + letters / max(letters.max(), 1)) / 2
    return shares


def _num_items(output: str) -> int:
    try:
        document: Any = json.loads(output)
    except (ValueError, RecursionError):
        return 0
    items = document.get("line_items") if isinstance(document, dict) else None
    return len(items) if isinstance(items, list) else 0


class CurriculumBatches(EpochBatches):
    """Every example once an epoch.

    Without a schedule an epoch is shuffled, and examples of like length share a batch. With easy_to_hard the first
    epoch goes strictly from the easiest example to the hardest; noise on the ranks grows from epoch to epoch, and
    the last one is shuffled.
    """

    batch_size: int

    def __init__(
        self,
        lengths: NDArray[np.int64],
        batch_size: int,
        seed: int,
        *,
        schedule: Schedule = "none",
        difficulty: NDArray[np.float64] | None = None,
        num_epochs: float = 1.0,
    ) -> None:
        """
        Args:
            lengths: tokens of each example.
            schedule: needs `difficulty` where it is easy_to_hard.
            num_epochs: of the complete run; the schedule is stretched over them.
        """
        if schedule == "easy_to_hard" and difficulty is None:
            raise ValueError("easy_to_hard needs difficulties")
        super().__init__(batch_size, seed)
        self._lengths, self._schedule, self._num_epochs = lengths, schedule, num_epochs
        self._ranks = None if difficulty is None else np.argsort(np.argsort(difficulty, kind="stable"), kind="stable")

    def __len__(self) -> int:
        return -(-len(self._lengths) // self.batch_size)

    def order(self, draw: np.random.Generator) -> list[list[int]]:
        """See `EpochBatches`."""
        noise = self._noise()
        if noise < 1 and self._ranks is not None:
            count = len(self._ranks)
            return self._cut(np.argsort((1 - noise) * self._ranks + noise * count * draw.random(count), kind="stable"))
        return self._by_length(draw.permutation(len(self._lengths)), draw)

    def _noise(self) -> float:
        """0: strictly by difficulty; 1: shuffled."""
        if self._schedule == "none":
            return 1.0
        last = max(int(np.ceil(self._num_epochs)) - 1, 1)
        return min(self.epoch / last, 1.0)

    def _cut(self, order: NDArray[np.int64]) -> list[list[int]]:
        size = self.batch_size
        return [order[first : first + size].tolist() for first in range(0, len(order), size)]

    def _by_length(self, order: NDArray[np.int64], draw: np.random.Generator) -> list[list[int]]:
        """Batches of like lengths in a random order; the one that is not full stays the last."""
        size, batches = self.batch_size, []
        for first in range(0, len(order), size * _WINDOW):
            window = order[first : first + size * _WINDOW]
            batches += self._cut(window[np.argsort(self._lengths[window], kind="stable")])
        full = [batch for batch in batches if len(batch) == size]
        rest = [batch for batch in batches if len(batch) < size]
        return [full[number] for number in draw.permutation(len(full))] + rest
