"""Folders of small models as their publishers leave them: random weights, a tokenizer of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForPreTraining,
    LayoutLMConfig,
    LayoutLMForMaskedLM,
    MPNetConfig,
    MPNetForMaskedLM,
    MPNetTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from receipt_trainer.data.synthetic import generate

SMALL: dict[str, Any] = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
OF_ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
OF_BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def texts() -> list[str]:
    """What the tokenizers learn from."""
    return [word.text for receipt in generate(20, 11) for word in receipt.words]


def word_pieces(special: list[str], *, lower: bool) -> dict[str, int]:
    """A WordPiece vocabulary, as vocab.txt numbers it."""
    learned = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # type: ignore[call-arg]
    learned.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    words = [text.lower() if lower else text for text in texts()]
    learned.train_from_iterator(words, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special))  # type: ignore[call-arg]
    return dict(sorted(learned.get_vocab().items(), key=lambda item: item[1]))


def _save(model: Any, folder: Path, **tokenizer: Any) -> Path:
    for name, weight in model.named_parameters():  # sharp attention, and nothing that is 0 or 1 as it was made
        with torch.no_grad():
            weight.add_(
                torch.randn_like(weight) * (0.3 if any(part in name for part in ("query", "key", ".q.")) else 0.05)
            )
    model.save_pretrained(folder)
    if tokenizer:
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return folder


def bert(folder: Path, *, lower: bool = True, **shape: Any) -> Path:
    """vocab.txt, pre-training heads."""
    vocabulary = word_pieces(OF_BERT, lower=lower)
    config = BertConfig(vocab_size=len(vocabulary), **{**SMALL, **shape})
    _save(BertForPreTraining(config), folder, do_lower_case=lower, model_max_length=512)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return folder


def cased_bert(folder: Path) -> Path:
    """Another hidden size, three layers, 8 places of a token's type, capitals kept."""
    return bert(folder, lower=False, hidden_size=64, num_hidden_layers=3, type_vocab_size=8)


def roberta(folder: Path) -> Path:
    """vocab.json and merges.txt; positions begin at 2, no types of tokens."""
    learned = ByteLevelBPETokenizer()
    learned.train_from_iterator([" ".join(texts())], vocab_size=500, special_tokens=OF_ROBERTA)
    config = RobertaConfig(vocab_size=500, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, **SMALL)
    _save(RobertaForMaskedLM(config), folder)
    learned.save_model(str(folder))
    return folder


def xlm_roberta(folder: Path) -> Path:
    """A RoBERTa whose tokenizer.json has SentencePiece's pieces."""
    learned = Tokenizer(models.Unigram())
    learned.pre_tokenizer = pre_tokenizers.Metaspace()  # type: ignore[assignment]
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=OF_ROBERTA, unk_token="<unk>")  # type: ignore[call-arg]
    learned.train_from_iterator(texts(), trainer)
    config = XLMRobertaConfig(vocab_size=300, max_position_embeddings=514, type_vocab_size=1, **SMALL)
    _save(XLMRobertaForMaskedLM(config), folder)
    learned.save(str(folder / "tokenizer.json"))
    return folder


def mpnet(folder: Path) -> Path:
    """BERT's pieces after four special tokens of its own; biases of attention by distance."""
    pieces = [*OF_ROBERTA[:4], *word_pieces(OF_BERT[:4], lower=True), "<mask>"]
    config = MPNetConfig(vocab_size=len(pieces), max_position_embeddings=514, layer_norm_eps=1e-5, **SMALL)
    model = MPNetForMaskedLM(config)
    torch.nn.init.normal_(model.mpnet.encoder.relative_attention_bias.weight, std=2)
    _save(model, folder)
    MPNetTokenizerFast(vocab={piece: number for number, piece in enumerate(pieces)}).save_pretrained(folder)
    return folder


def layoutlm(folder: Path) -> Path:
    """Weights of the masked language model as torch pickles them, vocab.txt."""
    vocabulary = word_pieces(OF_BERT, lower=True)
    model = LayoutLMForMaskedLM(LayoutLMConfig(vocab_size=len(vocabulary), **SMALL))
    _save(model, folder, do_lower_case=True, model_max_length=512)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return folder


TEXT: dict[str, Callable[[Path], Path]] = {
    "bert": bert,
    "cased bert": cased_bert,
    "roberta": roberta,
    "xlm-roberta": xlm_roberta,
    "mpnet": mpnet,
}
ALL = TEXT | {"layoutlm": layoutlm}
