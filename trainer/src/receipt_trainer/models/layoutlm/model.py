"""Models to start from: a LayoutLM checkpoint, a model of text to warm-start from, or nothing at all."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertTokenizerFast,
    LayoutLMConfig,
    LayoutLMForTokenClassification,
    PreTrainedTokenizerFast,
)

from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.contract.names import AMOUNT
from receipt_trainer.data.labels import AMOUNT_LABELS, LabelSpace
from receipt_trainer.errors import UserError
from receipt_trainer.models import hub
from receipt_trainer.models.layoutlm.packing import use_packing
from receipt_trainer.models.layoutlm.places import RECIPE, TINY, WITHOUT_NETWORK, find_start
from receipt_trainer.models.layoutlm.relative import RelativeLayoutLMConfig, load_classifier
from receipt_trainer.models.layoutlm.warm_start import TEXT_MODELS, positions_before, require_all, warm_start
from receipt_trainer.training.failures import first_line

_LAYOUTLM: Final = ("layoutlm", RelativeLayoutLMConfig.model_type)

Kind = Literal["layoutlm", "text", "tiny"]


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run starts from.

    Attributes:
        path: a directory or a hub name.
        max_length: the most tokens of an example.
        width: the hidden size times the number of layers.
        has_spaces: its tokenizer tells a word after a space from the rest of one, so that each word needs its space.
    """

    name: str
    kind: Kind
    path: str
    max_length: int = 512
    width: int = 128
    has_spaces: bool = False

    @property
    def default_learning_rate(self) -> float:
        """Peak learning rate for this kind of start, when none is given."""
        if self.kind == "layoutlm":
            return 1.5e-4 if (Path(self.path) / RECIPE).is_file() else 6e-5
        return 3e-4

    def require_length(self, data: DataConfig) -> None:
        """UserError: examples may be longer than what the model knows positions for."""
        if data.max_length > self.max_length:
            stride = f" and window_stride={self.max_length // 4}" if data.window_stride >= self.max_length - 2 else ""
            raise UserError(
                f"model '{self.name}' reads {self.max_length} tokens at a time, max_length is {data.max_length}: "
                f"set max_length={self.max_length}{stride}"
            )


def resolve(name: str) -> Start:
    """Find a model: 'tiny', a directory, an installed package that carries weights, or a name on the hub.

    Raises:
        UserError: nothing of that name can be had, or it is of a type that a run cannot start from.
        WorldError: the hub cannot be reached.
    """
    if name == TINY:
        return Start(name, "tiny", "")
    path = find_start(name)
    try:
        with hub.reached(path, WITHOUT_NETWORK):
            config = AutoConfig.from_pretrained(path)
    except (*hub.ERRORS, ValueError) as error:
        hub.raise_if_unreachable(path, error)
        raise UserError(
            f"model '{name}' is neither a directory nor an installed package with weights, and could not be loaded "
            f"from the hub ({first_line(error)}); {WITHOUT_NETWORK}"
        ) from None
    kind = config.model_type
    if kind not in (*_LAYOUTLM, *TEXT_MODELS):
        raise UserError(f"model '{name}' is a {kind}; a run starts from a layoutlm, {', '.join(TEXT_MODELS)} model")
    return Start(
        name,
        "layoutlm" if kind in _LAYOUTLM else "text",
        path,
        max_length=config.max_position_embeddings - positions_before(config),
        width=config.hidden_size * config.num_hidden_layers,
        has_spaces=kind == "roberta",
    )


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
            tokenizer = AutoTokenizer.from_pretrained(
                start.path, **{"add_prefix_space": True} if start.has_spaces else {}
            )
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
    labels = {"num_labels": len(tags), "id2label": tags, "label2id": {tag: index for index, tag in tags.items()}}
    dropout: dict[str, Any] = {}
    if training.dropout is not None:
        dropout["hidden_dropout_prob"] = training.dropout
    if training.attention_dropout is not None:
        dropout["attention_probs_dropout_prob"] = training.attention_dropout
    labelled = labels | dropout
    try:
        if start.kind == "layoutlm":
            with hub.reached(start.path, WITHOUT_NETWORK):
                model, found = load_classifier(
                    start.path, ignore_mismatched_sizes=True, output_loading_info=True, **dropout
                )
            require_all(found, "classifier.", "pooler.")
            _take_head(model, labels)
        elif start.kind == "text":
            with hub.reached(start.path, WITHOUT_NETWORK):
                model = warm_start(start.path, labelled)
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


def _take_head(model: LayoutLMForTokenClassification, labels: Mapping[str, Any]) -> None:
    """Give a trained model the run's tags: the rows of those it knows, by name; the others begin afresh.

    A merged AMOUNT begins as the mean of the amounts that the model knows, one of them as its AMOUNT.
    """
    old, known = model.classifier, {tag: index for index, tag in model.config.id2label.items()}
    new = model.classifier = torch.nn.Linear(old.in_features, labels["num_labels"])
    model._init_weights(new)
    with torch.no_grad():
        for tag, row in labels["label2id"].items():
            if like := [known[name] for name in _alike(tag, known)]:
                new.weight[row], new.bias[row] = old.weight[like].mean(0), old.bias[like].mean(0)
    for name, value in labels.items():
        setattr(model.config, name, value)
    model.num_labels = labels["num_labels"]


def _alike(tag: str, known: Mapping[str, int]) -> list[str]:
    """The known tags that a tag stands for: itself, or the amounts that it is merged from, or is part of."""
    if tag in known:
        return [tag]
    prefix, _, label = tag.partition("-")
    parts = sorted(AMOUNT_LABELS) if label == AMOUNT else [AMOUNT] if label in AMOUNT_LABELS else []
    return [name for name in (f"{prefix}-{part}" for part in parts) if name in known]
