"""A LayoutLM whose text embeddings and encoder are those of a BERT, a RoBERTa or an MPNet."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from transformers import AutoModel, LayoutLMConfig, LayoutLMForTokenClassification

from receipt_trainer.models.layoutlm.relative import TABLE, RelativeLayoutLM, RelativeLayoutLMConfig

TEXT_MODELS: Final = ("bert", "roberta", "xlm-roberta", "mpnet")
"""Types of models of text, as config.json has them, that a LayoutLM can start from."""
LAYOUT_STD: Final = 0.02
"""Standard deviation of fresh 2-D position embeddings: small beside word embeddings, which a warm start keeps."""

_SHAPE: Final = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps", "pad_token_id"),
)
_OF_MPNET: Final = {
    "attention.attn.q.": "attention.self.query.",
    "attention.attn.k.": "attention.self.key.",
    "attention.attn.v.": "attention.self.value.",
    "attention.attn.o.": "attention.output.dense.",
    "attention.LayerNorm.": "attention.output.LayerNorm.",
}


def positions_before(config: Any) -> int:
    """Rows of a model's position embeddings before the one of the first token."""
    if config.model_type == "mpnet":
        return 2
    return config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta") else 0


def warm_start(path: str, labelled: dict[str, Any]) -> LayoutLMForTokenClassification:
    """The LayoutLM; its 2-D position embeddings begin small.

    Args:
        path: a folder or a hub name.
        labelled: labels and dropout, for its configuration.

    Raises:
        RuntimeError: the weights are not all there, or the model is of a kind that a LayoutLM is not.
    """
    text, found = AutoModel.from_pretrained(
        path, dtype=torch.float32, add_pooling_layer=False, output_loading_info=True
    )
    require_all(found)
    config, weights = text.config, text.state_dict()
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    if getattr(config, "is_decoder", False):
        raise RuntimeError("it is a decoder")
    if positions != "absolute":
        raise RuntimeError(f"its position embeddings are {positions}, not absolute")
    weights["embeddings.position_embeddings.weight"] = weights["embeddings.position_embeddings.weight"][
        positions_before(config) :
    ]
    table = None
    if config.model_type == "mpnet":
        table, weights = weights.pop(f"encoder.{TABLE}"), {_renamed(name): value for name, value in weights.items()}
        weights["embeddings.token_type_embeddings.weight"] = torch.zeros(1, config.hidden_size)
    shape = {name: getattr(config, name) for name in _SHAPE} | {
        "max_position_embeddings": len(weights["embeddings.position_embeddings.weight"]),
        "type_vocab_size": len(weights["embeddings.token_type_embeddings.weight"]),
    }
    return _filled(shape | labelled, weights, table)


def _renamed(name: str) -> str:
    for theirs, ours in _OF_MPNET.items():
        name = name.replace(theirs, ours)
    return name


def _filled(shape: dict[str, Any], weights: dict[str, Tensor], table: Tensor | None) -> LayoutLMForTokenClassification:
    if table is None:
        model = LayoutLMForTokenClassification(LayoutLMConfig(**shape))
    else:
        model = RelativeLayoutLM(RelativeLayoutLMConfig(**shape))
        model.load_state_dict({TABLE: table}, strict=False)
    for name in "xyhw":
        spread = getattr(model.layoutlm.embeddings, f"{name}_position_embeddings")
        torch.nn.init.normal_(spread.weight, std=LAYOUT_STD)
    outcome = model.layoutlm.load_state_dict(weights, strict=False)
    fresh = [key for key in outcome.missing_keys if "_position_embeddings" not in key and not key.startswith("pooler")]
    if fresh or outcome.unexpected_keys:
        raise RuntimeError(f"not the weights of a text model: {(fresh + outcome.unexpected_keys)[:3]}")
    return model


def require_all(found: dict[str, Any], *fresh: str) -> None:
    """RuntimeError: weights were not there, or of another shape, and transformers drew them; those whose names
    contain one of `fresh` may be."""
    drawn = {*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])}
    if lacking := sorted(name for name in drawn if not any(part in name for part in fresh)):
        raise RuntimeError(f"{len(lacking)} of them are missing or of another shape, such as {lacking[0]}")
