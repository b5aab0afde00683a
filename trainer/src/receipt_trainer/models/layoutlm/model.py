"""Models to start from: a LayoutLM checkpoint, a BERT to warm-start from, or nothing at all."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BertTokenizerFast,
    LayoutLMConfig,
    LayoutLMForTokenClassification,
    PreTrainedTokenizerFast,
)

from receipt_trainer.config.layoutlm import TrainingConfig
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.errors import UserError
from receipt_trainer.models import hub
from receipt_trainer.models.layoutlm.packing import use_packing
from receipt_trainer.models.layoutlm.places import TINY, WITHOUT_NETWORK, find_start
from receipt_trainer.training.failures import first_line

LAYOUT_STD: Final = 0.02
"""Standard deviation of fresh 2-D position embeddings: small beside word embeddings, which a warm start keeps."""

Kind = Literal["layoutlm", "bert", "tiny"]


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run starts from: `path` is a directory or a hub name."""

    name: str
    kind: Kind
    path: str

    @property
    def default_learning_rate(self) -> float:
        """Peak learning rate for this kind of start, when none is given."""
        return 6e-5 if self.kind == "layoutlm" else 3e-4


def resolve(name: str) -> Start:
    """Find a model: 'tiny', a directory, an installed package that carries weights, or a name on the hub.

    Raises:
        UserError: nothing of that name can be had, or it is no LayoutLM and no BERT.
        WorldError: the hub cannot be reached.
    """
    if name == TINY:
        return Start(name, "tiny", "")
    path = find_start(name)
    try:
        with hub.reached(path, WITHOUT_NETWORK):
            model_type = AutoConfig.from_pretrained(path).model_type
    except (*hub.ERRORS, ValueError) as error:
        hub.raise_if_unreachable(path, error)
        raise UserError(
            f"model '{name}' is neither a directory nor an installed package with weights, and could not be loaded "
            f"from the hub ({first_line(error)}); {WITHOUT_NETWORK}"
        ) from None
    if model_type not in ("layoutlm", "bert"):
        raise UserError(f"model '{name}' is a {model_type}; a layoutlm or bert checkpoint is needed")
    return Start(name, "layoutlm" if model_type == "layoutlm" else "bert", path)


def load_tokenizer(start: Start) -> PreTrainedTokenizerFast:
    """The start's tokenizer; for 'tiny' one of single characters.

    Raises:
        UserError: the checkpoint has none that is fast.
        WorldError: the hub cannot be reached.
    """
    if start.kind == "tiny":
        return _tiny_tokenizer()
    try:
        with hub.reached(start.path, WITHOUT_NETWORK):
            tokenizer = AutoTokenizer.from_pretrained(start.path)
    except (*hub.ERRORS, ValueError) as error:
        hub.raise_if_unreachable(start.path, error)
        raise UserError(f"model '{start.name}' has no usable tokenizer: {first_line(error)}") from None
    if not tokenizer.is_fast:
        raise UserError(f"model '{start.name}' has no fast tokenizer (tokenizer.json)")
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # transformers makes an empty one where there is none
        raise UserError(f"model '{start.name}' has no tokenizer: tokenizer.json or vocab.txt is missing")
    return tokenizer


def _tiny_tokenizer() -> PreTrainedTokenizerFast:
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    return BertTokenizerFast(vocab={piece: index for index, piece in enumerate(pieces)}, do_lower_case=True)


def build(start: Start, space: LabelSpace, tokenizer: Any, training: TrainingConfig) -> LayoutLMForTokenClassification:
    """A token classifier over the space's tags.

    Raises:
        UserError: the weights cannot be read or do not fit.
        WorldError: the hub cannot be reached.
    """
    tags = dict(enumerate(space.tags))
    labelled: dict[str, Any] = {
        "num_labels": len(tags),
        "id2label": tags,
        "label2id": {tag: index for index, tag in tags.items()},
    }
    if training.dropout is not None:
        labelled["hidden_dropout_prob"] = training.dropout
    if training.attention_dropout is not None:
        labelled["attention_probs_dropout_prob"] = training.attention_dropout
    try:
        if start.kind == "layoutlm":
            with hub.reached(start.path, WITHOUT_NETWORK):
                model = LayoutLMForTokenClassification.from_pretrained(
                    start.path, ignore_mismatched_sizes=True, dtype=torch.float32, **labelled
                )
        elif start.kind == "bert":
            with hub.reached(start.path, WITHOUT_NETWORK):
                model = _warm_start(start.path, labelled)
        else:
            tiny = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
            model = LayoutLMForTokenClassification(LayoutLMConfig(vocab_size=len(tokenizer), **tiny, **labelled))
    except (*hub.ERRORS, RuntimeError) as error:
        hub.raise_if_unreachable(start.path, error)
        raise UserError(f"model '{start.name}': cannot load its weights: {first_line(error)}") from None
    if len(tokenizer) > model.config.vocab_size:
        raise UserError(
            f"model '{start.name}': its tokenizer has {len(tokenizer)} tokens, "
            f"its weights know {model.config.vocab_size}"
        )
    use_packing(model)
    model.layoutlm.pooler.requires_grad_(False)  # no word's label depends on it; DDP waits for gradients of the rest
    return model


def _warm_start(path: str, labelled: dict[str, Any]) -> LayoutLMForTokenClassification:
    """A LayoutLM whose text embeddings and encoder are a BERT's; 2-D position embeddings begin small."""
    bert = AutoModel.from_pretrained(path, dtype=torch.float32, add_pooling_layer=False)
    shape = {
        name: getattr(bert.config, name)
        for name in (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "hidden_act",
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
            "max_position_embeddings",
            "type_vocab_size",
            "layer_norm_eps",
            "pad_token_id",
        )
    }
    model = LayoutLMForTokenClassification(LayoutLMConfig(**{**shape, **labelled}))
    for name in "xyhw":
        table = getattr(model.layoutlm.embeddings, f"{name}_position_embeddings")
        torch.nn.init.normal_(table.weight, std=LAYOUT_STD)
    outcome = model.layoutlm.load_state_dict(bert.state_dict(), strict=False)
    fresh = [key for key in outcome.missing_keys if "_position_embeddings" not in key and not key.startswith("pooler")]
    if fresh or outcome.unexpected_keys:
        raise RuntimeError(f"not the weights of a BERT: {(fresh + outcome.unexpected_keys)[:3]}")
    return model
