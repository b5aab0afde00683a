"""Padding-free batches: examples lie one after the other in a single row, and attention stays inside each.

Linear layers, norms and embeddings work on real tokens only. Attention runs over buckets of examples of similar
length, so that no example meets another's tokens and what is padded is a few key columns of a bucket, never a
row of 512. Idea: Krell et al. 2021, Efficient Sequence Packing without Cross-contamination.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AttentionInterface, LayoutLMForTokenClassification
from transformers.models.layoutlm.modeling_layoutlm import LayoutLMLayer

PACKED: Final = "packed"
"""Name of the attention implementation, as registered with transformers."""


def bucket_lengths(lengths: NDArray[np.int64], *, coarse: bool = False) -> NDArray[np.int64]:
    """Lengths to which the examples' attention is padded.

    Steps of 4 for lines and about 6 % for longer ones, as a CPU's time goes with the padded tokens. With `coarse`
    powers of two from 16: a GPU's time goes with the number of buckets, each of which is many small kernels.
    """
    if coarse:
        bits = np.frexp(lengths - 1)[1].astype(np.int64)
        return np.maximum(16, 1 << bits)
    step = np.where(lengths <= 64, 4, 16)
    return -(-lengths // step) * step


def attention_plan(lengths: Sequence[int] | NDArray[np.int64], *, coarse: bool = False) -> dict[str, Any]:
    """How the attention of one packed row is cut.

    Args:
        coarse: few buckets, for a GPU; see `bucket_lengths`.

    Returns:
        gather: (padded tokens,) number of the packed token at each place of the buckets, one bucket after another.
        inverse: (tokens,) place of each packed token in the buckets.
        bias: (padded tokens,) what is added to the scores of a key at the place: 0, or -inf where no token is.
        buckets: (rows, length, padded) of each bucket.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    targets = bucket_lengths(sizes, coarse=coarse)
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
        "bias": torch.from_numpy(np.where(real, np.float32(0), np.float32("-inf"))),
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
    relative: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of packed rows; without `packing`, plain attention with the padding mask.

    Args:
        query, key, value: (1, heads, tokens, head size).
        relative: (heads, length, length) added to the scores by where query and key stand in their example, for
            examples of up to that length.

    Returns:
        (1, tokens, heads, head size).
    """
    attend = nn.functional.scaled_dot_product_attention
    near = None if relative is None else relative.unsqueeze(0).to(query.dtype)
    if packing is None:
        if near is not None:
            attention_mask = near if attention_mask is None else attention_mask + near
        plain = attend(query, key, value, attention_mask, dropout_p=dropout, scale=scaling)
        return plain.transpose(1, 2).contiguous(), None
    buckets = packing["buckets"]
    # Few kernels: a bias is used as it is, where SDPA makes one of booleans in each call; the gradient of a split is
    # one concatenation, those of slices and of [0] are tensors as large as the whole.
    sizes = [count * length for count, length, _ in buckets]
    tokens = [part.transpose(1, 2).squeeze(0) for part in (query, key, value)]
    parts = [part.index_select(0, packing["gather"]).split_with_sizes(sizes) for part in tokens]
    biases = packing["bias"].to(query.dtype).split_with_sizes(sizes)
    outputs = []
    for (count, length, padded), bias, *rows in zip(buckets, biases, *parts, strict=True):
        q, k, v = (row.view(count, length, *row.shape[1:]).transpose(1, 2) for row in rows)
        mask = bias.view(count, 1, 1, length) if padded else None
        if near is not None:
            between = near[..., :length, :length]
            mask = between if mask is None else mask + between
        outputs.append(attend(q, k, v, mask, dropout_p=dropout, scale=scaling).transpose(1, 2).flatten(0, 1))
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
