"""A LayoutLM whose attention also adds a learned number for the distance of two tokens, as MPNet's does.

Without these numbers an MPNet's weights are worth little, and a LayoutLM has no place for them. So this is a model of
its own: this program saves, loads and exports it, and plain transformers, whose attention would leave them out, does
not know its `model_type`. Its attention is that of `packing`, which adds them within each example.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForTokenClassification, LayoutLMConfig, LayoutLMForTokenClassification
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

TABLE = "relative_attention_bias.weight"
"""Name of the numbers among the model's weights: (kinds of distance, heads)."""


class RelativeLayoutLMConfig(LayoutLMConfig):
    """LayoutLM's configuration under a name that plain transformers does not take for a LayoutLM."""

    model_type = "layoutlm-relative"


class RelativeLayoutLM(LayoutLMForTokenClassification):
    """LayoutLM with `TABLE`; called as LayoutLM is."""

    config_class = RelativeLayoutLMConfig

    def __init__(self, config: RelativeLayoutLMConfig) -> None:
        super().__init__(config)
        self.relative_attention_bias = nn.Embedding(32, config.num_attention_heads)  # as MPNet: it knows no other count

    def forward(self, input_ids: Tensor, *, packing: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """See LayoutLM; `packing` is what `attention_plan` returns, or None for ordinary batches."""
        longest = max(length for _, length, _ in packing["buckets"]) if packing else input_ids.shape[1]
        return super().forward(input_ids=input_ids, packing=packing, relative=self._between(longest), **kwargs)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # another length would be compiled again
    def _between(self, length: int) -> Tensor:
        """(heads, length, length) what is added to the score of each key (last) for each query."""
        rows = by_distance(self.relative_attention_bias.weight, length).unfold(0, length, 1)
        return rows.flip(0).transpose(0, 1)


def by_distance(table: Tensor, length: int) -> Tensor:
    """(2 * length - 1, heads) the numbers for a key that stands length - 1 tokens before, ..., as many behind."""
    distances = torch.arange(1 - length, length, device=table.device)
    return table[MPNetEncoder.relative_position_bucket(distances)]


def load_classifier(path: str | Path, **options: Any) -> Any:
    """A saved LayoutLM of either kind; `options` and what it returns and raises are those of `from_pretrained`."""
    return AutoModelForTokenClassification.from_pretrained(path, dtype=torch.float32, **options)


AutoConfig.register(RelativeLayoutLMConfig.model_type, RelativeLayoutLMConfig)
AutoModelForTokenClassification.register(RelativeLayoutLMConfig, RelativeLayoutLM)
