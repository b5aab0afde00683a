"""Padding-free batches: examples lie one after the other in a single row, and attention stays inside each.

Linear layers, norms and embeddings work on real tokens only. Attention runs over buckets of examples of similar
length, so that no example meets another's tokens and what is padded is a few key columns of a bucket, never a
row of 512. Idea: Krell et al. 2021, Efficient Sequence Packing without Cross-contamination.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AttentionInterface, LayoutLMForTokenClassification
from transformers.models.layoutlm.modeling_layoutlm import LayoutLMLayer

from receipt_trainer.data.examples import Examples

PACKED: Final = "packed"
"""Name of the attention implementation, as registered with transformers."""

_AUGMENT_SCALE = 0.05


def bucket_length(length: int) -> int:
    """Length to which an example's attention is padded: steps of 4 for lines, about 6 % for longer ones."""
    step = 4 if length <= 64 else 16
    return -(-length // step) * step


def attention_plan(lengths: Sequence[int]) -> dict[str, Any]:
    """How the attention of one packed row is cut.

    Returns:
        gather: (padded tokens,) number of the packed token at each place of the buckets, one bucket after another.
        inverse: (tokens,) place of each packed token in the buckets.
        keep: (padded tokens,) whether the place holds a token.
        buckets: (rows, length, padded) of each bucket.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    targets = np.array([bucket_length(int(size)) for size in sizes], dtype=np.int64)
    gather, keep, buckets = [], [], []
    for length in np.unique(targets):
        members = np.flatnonzero(targets == length)
        positions = np.arange(length)
        inside = positions[None, :] < sizes[members, None]
        gather.append(np.where(inside, starts[members, None] + positions[None, :], starts[members, None]).ravel())
        keep.append(inside.ravel())
        buckets.append((len(members), int(length), not bool(inside.all())))
    places, real = np.concatenate(gather), np.concatenate(keep)
    inverse = np.empty(int(sizes.sum()), dtype=np.int64)
    inverse[places[real]] = np.flatnonzero(real)
    return {
        "gather": torch.from_numpy(places),
        "inverse": torch.from_numpy(inverse),
        "keep": torch.from_numpy(real),
        "buckets": tuple(buckets),
    }


@torch.compiler.disable  # type: ignore[untyped-decorator]  # its buckets differ in every batch: each would be compiled
def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    *,
    packing: dict[str, Any] | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of packed rows; without `packing`, plain attention with the padding mask.

    Args:
        query, key, value: (1, heads, tokens, head size).

    Returns:
        (1, tokens, heads, head size).
    """
    attend = nn.functional.scaled_dot_product_attention
    if packing is None:
        plain = attend(query, key, value, attention_mask, dropout_p=dropout, scale=scaling)
        return plain.transpose(1, 2).contiguous(), None
    gather, keep = packing["gather"], packing["keep"]
    rows = [part.transpose(1, 2)[0].index_select(0, gather) for part in (query, key, value)]
    outputs = []
    first = 0
    for count, length, padded in packing["buckets"]:
        last = first + count * length
        q, k, v = (row[first:last].view(count, length, *row.shape[1:]).transpose(1, 2) for row in rows)
        mask = keep[first:last].view(count, 1, 1, length) if padded else None
        outputs.append(attend(q, k, v, mask, dropout_p=dropout, scale=scaling).transpose(1, 2).flatten(0, 1))
        first = last
    packed = torch.cat(outputs).index_select(0, packing["inverse"])
    return packed.unsqueeze(0), None


AttentionInterface.register(PACKED, packed_attention)


class LastLayer(LayoutLMLayer):
    """The last layer of the encoder: goes on, after attention, with the tokens alone that a label is read from.

    Most tokens are the later sub-tokens of a word or special; the keys and values of the last attention are the last
    that is needed of them. Parameters and results are LayoutLM's own.
    """

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        """(1, tokens, hidden) to (1, selected tokens, hidden) where `packing` selects, else to the same shape."""
        attended, _ = self.attention.self(hidden_states, attention_mask=attention_mask, **kwargs)
        select = (kwargs.get("packing") or {}).get("select")
        if select is not None:
            attended, hidden_states = attended.index_select(1, select), hidden_states.index_select(1, select)
        output: Tensor = self.feed_forward_chunk(self.attention.output(attended, hidden_states))
        return output


def use_packing(model: LayoutLMForTokenClassification) -> None:
    """Let a LayoutLM take packed rows; its weights, and what it does with ordinary batches, stay as they are."""
    model.set_attn_implementation(PACKED)
    model.layoutlm.encoder.layer[-1].__class__ = LastLayer  # a fresh module would have to copy the weights


class PackingCollator:
    """Makes one packed row of some examples.

    Positions restart at 0 in every example. With `augment`, each example's boxes are scaled and shifted by up to
    5 % of the page; the draw depends on the seed, the epoch and the example alone, so that a resumed run sees the
    same boxes. With `select`, logits are computed, and labels given, for the first sub-tokens of owned words alone.
    """

    def __init__(self, examples: Examples, *, select: bool = False, augment: bool = False, seed: int = 0) -> None:
        self.examples = examples
        self._select = select
        self._augment = augment
        self._seed = seed
        self.epoch = 0

    def __call__(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Batch of the examples with these numbers: tensors of shape (1, tokens), bbox (1, tokens, 4)."""
        data = self.examples
        spans = [slice(int(data.offsets[n]), int(data.offsets[n + 1])) for n in numbers]
        lengths = [span.stop - span.start for span in spans]
        boxes = [data.bbox[span] for span in spans]
        if self._augment:
            boxes = [self._moved(box, int(number)) for box, number in zip(boxes, numbers, strict=True)]
        batch: dict[str, Any] = {
            "input_ids": _row([data.input_ids[span] for span in spans]),
            "bbox": _row(boxes),
            "position_ids": _row([np.arange(length) for length in lengths]),
            "labels": _row([data.targets[span] for span in spans]),
            "packing": attention_plan(lengths),
        }
        if self._select:
            select = torch.from_numpy(np.flatnonzero(np.concatenate([data.words[span] for span in spans]) >= 0))
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


def _row(parts: Sequence[NDArray[Any]]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts).astype(np.int64)).unsqueeze(0)


class EpochBatches:
    """Batches of example numbers whose order is a function of seed and epoch, so that resuming needs no state.

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
        self._numbers = numbers
        self._seed = seed
        self._epoch = 0
        self._lengths = lengths
        self.batch_size = batch_size
        self.drop_last = False
        if batch_size is not None:
            self._count = -(-len(numbers) // batch_size)
        else:
            if lengths is None:
                raise ValueError("lengths are needed where batch_size is None")
            wanted = -(-int(lengths[numbers].sum()) // batch_tokens)
            self._count = min(-(-wanted // ranks) * ranks, len(numbers) // ranks * ranks or len(numbers))

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._numbers)
        size = self.batch_size
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


class Numbers(torch.utils.data.Dataset[int]):
    """A dataset whose items are the examples' numbers: the collator does the reading, once a batch."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> int:
        return number


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
