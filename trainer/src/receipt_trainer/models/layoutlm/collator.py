"""Which examples go through the model together, and what the model is given of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from receipt_trainer.data.encode import Examples
from receipt_trainer.data.simulated import SimulatedReceipts
from receipt_trainer.models.layoutlm.packing import attention_plan
from receipt_trainer.training.trainer import EpochBatches

_AUGMENT_SCALE: Final = 0.05
"""How far an example's boxes are moved and scaled at most, as a share of the page."""


class PackingCollator:
    """Makes one packed row of some examples.

    Positions restart at 0 in every example. With `augment`, each example's boxes are scaled and shifted by up to
    5 % of the page; the draw depends on the seed, the epoch and the example alone, so that a resumed run sees the
    same boxes. With `select`, logits are computed, and labels given, for the first sub-tokens of owned words alone.
    With `coarse`, for a GPU, attention runs over few buckets. `simulated` changes sub-tokens, anew each epoch.
    """

    def __init__(
        self,
        examples: Examples,
        *,
        select: bool = False,
        augment: bool = False,
        seed: int = 0,
        coarse: bool = False,
        simulated: SimulatedReceipts | None = None,
    ) -> None:
        self.examples = examples
        self._simulated = simulated
        self._coarse = coarse
        self._select = select
        self._augment = augment
        self._seed = seed
        self.epoch = 0

    def __call__(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Batch of the examples with these numbers.

        Returns:
            input_ids, position_ids, labels: (1, tokens).
            bbox: (1, tokens, 4).
            attention_mask: (1, 1), one: without it transformers looks for padding, and waits for a GPU to answer.
            packing: the attention's plan, and `select`, (selected tokens,), where there is one; see `attention_plan`.
        """
        data, rows = self.examples, np.asarray(numbers, dtype=np.int64)
        lengths = data.offsets[rows + 1] - data.offsets[rows]
        ends = np.cumsum(lengths)
        positions = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
        places = positions + np.repeat(data.offsets[rows], lengths)
        ids, boxes = data.input_ids[places], data.bbox[places]
        if self._simulated is not None:
            self._simulated.replace(ids, rows.tolist(), ends.tolist(), self.epoch)
        if self._augment:
            parts = zip(np.split(boxes, ends[:-1]), rows.tolist(), strict=True)
            boxes = np.concatenate([self._moved(box, number) for box, number in parts])
        batch: dict[str, Any] = {
            "input_ids": _row(ids),
            "bbox": _row(boxes),
            "position_ids": _row(positions),
            "labels": _row(data.targets[places]),
            "attention_mask": torch.ones(1, 1, dtype=torch.long),
            "packing": attention_plan(lengths, coarse=self._coarse),
        }
        if self._select:
            select = torch.from_numpy(np.flatnonzero(data.words[places] >= 0))
            if len(select):  # a window that owns no word still has to pass through the model
                batch["packing"]["select"] = select
                batch["labels"] = batch["labels"].index_select(1, select)
        return batch

    def _moved(self, boxes: NDArray[np.int32], number: int) -> NDArray[np.int32]:
        draw = np.random.default_rng((self._seed, self.epoch, number))
        scale = 1 + draw.uniform(-_AUGMENT_SCALE, _AUGMENT_SCALE, 2)
        shift = draw.uniform(-_AUGMENT_SCALE, _AUGMENT_SCALE, 2) * 1000
        moved = np.clip(np.rint(boxes * np.tile(scale, 2) + np.tile(shift, 2)), 0, 1000).astype(np.int32)
        special = (boxes == 0).all(axis=1) | (boxes == 1000).all(axis=1)
        return np.where(special[:, None], boxes, moved)


def _row(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.int64)).unsqueeze(0)


class PackedBatches(EpochBatches):
    """Examples in a random order.

    Either `batch_size` examples make a batch (the last of an epoch may be smaller), or, where that is None, batches
    are cut so that each has about `batch_tokens` tokens; their number is then a multiple of `ranks`, and the same in
    every epoch.

    Args:
        numbers: the examples to train on.
        lengths: tokens of every example of the data set; needed where `batch_size` is None.
    """

    def __init__(
        self,
        numbers: NDArray[np.int64],
        batch_size: int | None,
        seed: int,
        *,
        lengths: NDArray[np.int64] | None = None,
        batch_tokens: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__(batch_size, seed)
        self._numbers, self._lengths = numbers, lengths
        if batch_size is not None:
            self._count = -(-len(numbers) // batch_size)
        else:
            if lengths is None:
                raise ValueError("lengths are needed where batch_size is None")
            wanted = -(-int(lengths[numbers].sum()) // batch_tokens)
            self._count = min(-(-wanted // ranks) * ranks, len(numbers) // ranks * ranks or len(numbers))

    def __len__(self) -> int:
        return self._count

    def order(self, draw: np.random.Generator) -> Iterator[list[int]]:
        """See `EpochBatches`."""
        order, size = draw.permutation(self._numbers), self.batch_size
        borders = self._borders(order) if size is None else list(range(0, len(order), size))
        for first, last in pairwise([*borders, len(order)]):
            yield order[first:last].tolist()

    def _borders(self, order: NDArray[np.int64]) -> list[int]:
        """Where each batch begins: at the example whose middle lies behind its share of the tokens; none is empty."""
        sizes = self._lengths[order]  # type: ignore[index]
        middles = np.cumsum(sizes) - sizes / 2
        shares = np.arange(self._count) * (sizes.sum() / self._count)
        begins = np.searchsorted(middles, shares)
        places = np.arange(self._count)
        begins = np.maximum.accumulate(begins - places) + places
        borders: list[int] = np.minimum(begins, len(order) - self._count + places).tolist()
        return borders


def inference_batches(examples: Examples, max_tokens: int = 8192) -> Iterator[list[int]]:
    """Examples in order of length, at most `max_tokens` tokens a batch (one example at least)."""
    batch: list[int] = []
    tokens = 0
    for number in np.argsort(examples.lengths, kind="stable").tolist():
        length = int(examples.lengths[number])
        if batch and tokens + length > max_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(number)
        tokens += length
    if batch:
        yield batch
