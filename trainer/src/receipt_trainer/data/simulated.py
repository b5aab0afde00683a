"""Training receipts of merchants that do not exist: names, addresses, amounts and dates drawn anew each epoch.

A model that has read few merchants learns their names by heart; of receipts with changed names it learns where a name
stands instead (figures in docs/lab-notes.md). A sub-token gives way to a sub-token: examples keep their lengths,
windows, boxes and labels, so batches and steps are the same with and without, and a snapshot serves both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from receipt_trainer.data.dedup import letters
from receipt_trainer.data.encode import EncodedSplit, Ints, Tokenizer, WordEncoder
from receipt_trainer.data.labels import NAMES, LabelSpace

REPLACED: Final = 0.75
"""Of the different words of three letters or more in a receipt's names; the others, as of a chain's forms, stay."""
INVENTED: Final = 0.5
"""Of the words that replace one: put together from the sub-tokens of several. The others are words of other names."""
_TRIES: Final = 8
"""Numbers that are drawn at most until one has as many sub-tokens as the one that it replaces."""

_PARTS: Final = re.compile(r"[^\W\d_]+|\d+|[\W_]+")
_AMOUNT: Final = re.compile(r"(?<![\d.,])\d[\d.,]*[.,]\d\d(?!\d)")
_NUMBER: Final = re.compile(r"\d+")

Pieces = tuple[int, ...]


class SimulatedReceipts:
    """The sub-tokens of training examples in which some receipts have a made-up merchant, or other amounts and dates.

    What is drawn depends on the seed, the epoch and the receipt's key alone: a resumed run, another process and both
    views of a receipt see the same.
    """

    def __init__(
        self,
        split: EncodedSplit,
        space: LabelSpace,
        tokenizer: Tokenizer,
        max_tokens: int,
        *,
        merchants: float = 0.0,
        values: float = 0.0,
        seed: int = 0,
    ) -> None:
        """
        Args:
            max_tokens: sub-tokens of a word at most, as it was encoded.
            merchants: share of the receipts (0..1) whose merchant's name and address are replaced.
            values: share of the receipts whose dates and amounts are.
        """
        self._words, self._merchants, self._values, self._seed = split.words, merchants, values, seed
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._encoder = WordEncoder(tokenizer, max_tokens)
        texts = list(self._words.texts)
        pieces = self._encoder.encode(texts)
        self._starts = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
        self._plain = np.array([piece for word in pieces for piece in word], dtype=np.int32)
        self._drawn, self._epoch = self._plain.copy(), -1
        self._to_draw: set[int] = set()
        ids = {label: index for index, label in enumerate(space.labels, start=1)}
        self._merchant, self._date = ids.get(NAMES[0], -1), ids.get("DATE", -1)
        self._is_name = np.isin(self._words.gold, [ids[label] for label in NAMES if label in ids])
        self._pool = _Pool(self._encoder, texts, [texts[place] for place in np.flatnonzero(self._is_name)])
        self._spans, self._receipts = self._places(split)

    def _places(self, split: EncodedSplit) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each example: where it begins among the sub-tokens of all words, and its receipt; -1 and -1 of one that
        owns no word, which teaches nothing."""
        examples = split.examples
        spans = np.full(len(examples), -1, dtype=np.int64)
        receipts = spans.copy()
        owned = np.flatnonzero(examples.words >= 0)
        rows, first = np.unique(np.searchsorted(examples.offsets, owned, side="right") - 1, return_index=True)
        places, words = owned[first], examples.words[owned[first]]
        spans[rows] = self._starts[words] - (places - examples.offsets[rows] - 1)  # [CLS] goes before
        receipts[rows] = np.searchsorted(split.words.offsets, words, side="right") - 1
        return spans, receipts

    def replace(self, ids: Ints, numbers: Iterable[int], ends: Iterable[int], epoch: int) -> None:
        """Put an epoch's sub-tokens into a row of whole examples.

        Args:
            ids: (tokens,) of the row; changed.
            numbers: the examples in the row.
            ends: where each ends in it.
        """
        if epoch != self._epoch:
            self._epoch, self._to_draw = epoch, set(range(len(self._words)))
            self._encoder = WordEncoder(self._tokenizer, self._max_tokens)  # drawn numbers would fill the old one
        begin = 0
        for number, end in zip(numbers, ends, strict=True):
            span, receipt = int(self._spans[number]), int(self._receipts[number])
            if receipt in self._to_draw:
                self._to_draw.remove(receipt)
                self._draw(receipt)
            if span >= 0:
                ids[begin + 1 : end - 1] = self._drawn[span : span + end - begin - 2]
            begin = end

    def _draw(self, receipt: int) -> None:
        words = range(int(self._words.offsets[receipt]), int(self._words.offsets[receipt + 1]))
        span = slice(int(self._starts[words.start]), int(self._starts[words.stop]))
        self._drawn[span] = self._plain[span]
        ways = (("merchant", self._merchants, self._new_merchant), ("values", self._values, self._new_values))
        for what, share, change in ways:
            draw = Random(f"{what}:{self._seed}:{self._epoch}:{self._words.keys[receipt]}")  # noqa: S311
            if draw.random() < share:
                change(words, draw)

    def _put(self, word: int, pieces: Sequence[int]) -> None:
        self._drawn[self._starts[word] : self._starts[word + 1]] = pieces

    def _pieces(self, text: str) -> Pieces:
        return tuple(self._encoder.encode([text])[0])

    def _like(self, text: str, change: Callable[[str, Random], str], draw: Random) -> str:
        """A changed text with as many sub-tokens; the same text if none is found."""
        wanted = len(self._pieces(text))
        drawn = (change(text, draw) for _ in range(_TRIES))
        return next((new for new in drawn if len(self._pieces(new)) == wanted), text)

    def _new_merchant(self, words: range, draw: Random) -> None:
        replaced: dict[Pieces, Pieces] = {}
        for word in [*(word for word in words if self._is_name[word]), *self._mentions(words)]:
            text = self._words.texts[word]
            whole = self._pieces(text)
            parts = [(part, self._pieces(part)) for part in _PARTS.findall(text)]
            if tuple(piece for _, pieces in parts for piece in pieces) != whole:
                parts = [(text, whole)]  # this tokenizer sees other parts, or it was too long
            for part, pieces in parts:
                if pieces not in replaced:
                    replaced[pieces] = self._other(part, pieces, draw)
            self._put(word, [piece for _, pieces in parts for piece in replaced[pieces]])

    def _other(self, part: str, pieces: Pieces, draw: Random) -> Pieces:
        if part.isdecimal():
            return self._pieces(self._like(part, _other_digits, draw))
        if sum(letter.isalpha() for letter in part) < 3 or draw.random() >= REPLACED:
            return pieces
        return self._pool.pick(part, pieces, draw)

    def _mentions(self, words: range) -> Iterator[int]:
        """Words without a label that say a line of the merchant's name once more."""
        gold, lines = self._words.gold, self._words.lines
        texts = [letters(self._words.texts[word]) for word in words]
        names: dict[int, list[str]] = {}
        for word, text in zip(words, texts, strict=True):
            if gold[word] == self._merchant:
                names.setdefault(int(lines[word]), []).append(text)
        for name in sorted({tuple(name) for name in names.values() if len("".join(name)) > 2}):
            for start in range(len(texts) - len(name) + 1):
                found = words[start : start + len(name)]
                if tuple(texts[start : start + len(name)]) == name and not any(gold[word] for word in found):
                    yield from found

    def _new_values(self, words: range, draw: Random) -> None:
        dates = {self._words.texts[word] for word in words if self._words.gold[word] == self._date}
        replaced: dict[str, str] = {}
        for word in words:
            text = self._words.texts[word]
            found = None if text in dates else _AMOUNT.search(text)
            old = text if text in dates else found[0] if found else ""
            if old and old not in replaced:
                replaced[old] = self._like(old, _other_date if text in dates else _other_digits, draw)
            new = self._pieces(text.replace(old, replaced[old])) if old else ()
            if len(new) == self._starts[word + 1] - self._starts[word]:
                self._put(word, new)


class _Pool:
    """Words to put in the place of others, by their number of sub-tokens and their case."""

    def __init__(self, encoder: WordEncoder, texts: Sequence[str], names: Sequence[str]) -> None:
        self._named, self._any = (_by_size(encoder, words) for words in (names, texts))
        both = [pieces for group in self._any.values() for pieces in group if len(pieces) > 1]
        self._heads = sorted({pieces[0] for pieces in both})
        self._tails = sorted({piece for pieces in both for piece in pieces[1:]})

    def pick(self, text: str, pieces: Pieces, draw: Random) -> Pieces:
        key = len(pieces), _case(text)
        if draw.random() >= INVENTED and (named := self._named.get(key)):
            return draw.choice(named)
        if len(pieces) > 1 and self._heads:
            return draw.choice(self._heads), *(draw.choice(self._tails) for _ in pieces[1:])
        return draw.choice(self._any.get(key) or [pieces])


def _by_size(encoder: WordEncoder, texts: Iterable[str]) -> dict[tuple[int, str], list[Pieces]]:
    found: dict[tuple[int, str], set[Pieces]] = {}
    parts = sorted({part for text in texts for part in _PARTS.findall(text) if len(part) > 2 and part.isalpha()})
    for part, pieces in zip(parts, encoder.encode(parts), strict=True):
        found.setdefault((len(pieces), _case(part)), set()).add(tuple(pieces))
    return {key: sorted(group) for key, group in found.items()}


def _case(text: str) -> str:
    return "upper" if text.isupper() else "title" if text[:1].isupper() else "lower"


def _other_digits(text: str, draw: Random) -> str:
    """The same text with other digits: a number that begins with 0 goes on to, and 0.00 stays."""
    return _NUMBER.sub(lambda found: _number(found[0], draw), text) if text.strip("0.,") else text


def _number(digits: str, draw: Random) -> str:
    first = "0" if digits[0] == "0" else str(draw.randint(1, 9))
    return first + "".join(str(draw.randint(0, 9)) for _ in digits[1:])


def _other_date(text: str, draw: Random) -> str:
    """Another valid date in the same form: what may be a month or a day stays that."""

    def other(found: re.Match[str]) -> str:
        digits = found[0]
        if len(digits) == 4 and digits[:2] in ("19", "20"):
            return str(draw.randint(2000, 2029))
        if len(digits) > 2 or not 0 < int(digits) < 32:
            return _number(digits, draw)
        if int(digits) > 12:
            return str(draw.randint(13, 28))
        return str(draw.randint(1, 9) if len(digits) == 1 or digits[0] == "0" else draw.randint(10, 12)).zfill(
            len(digits)
        )

    return _NUMBER.sub(other, text)
