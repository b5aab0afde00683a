"""Words to sub-tokens: which token starts which word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol


class Tokenizer(Protocol):
    """What is needed of a transformers tokenizer."""

    cls_token_id: int | None
    sep_token_id: int | None
    unk_token_id: int | None

    def __call__(self, text: list[str], *, add_special_tokens: bool, verbose: bool) -> Any:
        """Encode a list of texts; the result has `input_ids`."""


class WordEncoder:
    """Sub-tokens of words, each distinct text encoded once.

    A word never vanishes: one that the tokenizer makes nothing of (a lone variation selector, say) becomes [UNK].
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        """`max_tokens`: a longer word keeps only its first so many sub-tokens, so that it fits into one window."""
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._known: dict[str, list[int]] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Encode all new texts in one call, which is what makes encoding fast."""
        new = sorted(set(texts) - self._known.keys())
        if not new:
            return
        encoded = self._tokenizer(new, add_special_tokens=False, verbose=False)["input_ids"]
        unknown = self._tokenizer.unk_token_id
        for text, ids in zip(new, encoded, strict=True):
            self._known[text] = list(ids[: self._max_tokens]) or [0 if unknown is None else unknown]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each word, at least one a word."""
        self.learn(texts)
        return [self._known[text] for text in texts]
