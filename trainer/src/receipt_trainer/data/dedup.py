"""Receipts that say nearly the same: an exact join of word sets by Jaccard similarity, in pure Python.

The prefix, length and position filters are those of PPJoin (Xiao et al. 2008, Efficient similarity joins for near
duplicate detection): they skip pairs that cannot be similar and miss none that is.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Final, TypeVar

from receipt_trainer.data.receipt import Receipt

NUMERATOR: Final = 4
DENOMINATOR: Final = 5
"""Two receipts are near duplicates if the Jaccard similarity of their words is above NUMERATOR / DENOMINATOR = 0.8."""

_Value = TypeVar("_Value", bound=Hashable)
_Bucket = dict[int, list[int]]
_Index = dict[int, dict[tuple[int, int], _Bucket]]


def normalise_text(text: str) -> str:
    """A word as it is compared: compatibility forms and case folded, no punctuation at its ends; "" for a bare mark."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    start, end = 0, len(folded)
    while start < end and not folded[start].isalnum():
        start += 1
    while end > start and not folded[end - 1].isalnum():
        end -= 1
    return folded[start:end]


def letters(text: str) -> str:
    """Letters and digits in upper case: what of a name is compared."""
    return re.sub(r"[\W_]", "", text).upper()


def near_duplicate_groups(receipts: Sequence[Receipt]) -> list[list[int]]:
    """Positions of the receipts, grouped: near duplicates, and near duplicates of those, are together.

    Receipts of one key are together too, whatever they say. A receipt without a word that has a letter or digit is
    like no other. Groups are in the order of their first receipt.

    Memory is linear; time grows with the pairs that share rare words: 2 to 4 s for 20,000 receipts of 50 to 70 words,
    with shared templates or without. What takes long is many receipts that are all nearly near duplicates: 14 s if one
    shop prints all 20,000 and they share 70 % of their words, 2 minutes if they have 200 words in all.
    """
    union = _Union(len(receipts))
    _join_equal(union, (receipt.key for receipt in receipts))
    ranked, token_counts = _ranked_words(receipts)
    first_of = _join_equal(union, (words or (-1 - index,) for index, words in enumerate(ranked)))
    distinct = sorted((index for index in first_of.values() if ranked[index]), key=lambda index: len(ranked[index]))
    _join_similar(union, ranked, distinct, token_counts)
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(len(receipts)):
        groups[union.root(index)].append(index)
    return list(groups.values())


class _Union:
    """Disjoint sets of 0..size-1."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, item: int) -> int:
        parent = self._parent
        while parent[item] != item:
            parent[item] = item = parent[parent[item]]
        return item

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.root(one), self.root(other)))
        self._parent[second] = first


def _join_equal(union: _Union, values: Iterable[_Value]) -> dict[_Value, int]:
    """Join the positions of equal values; the first position of each value."""
    first: dict[_Value, int] = {}
    for index, value in enumerate(values):
        union.join(first.setdefault(value, index), index)
    return first


def _ranked_words(receipts: Sequence[Receipt]) -> tuple[list[tuple[int, ...]], list[int]]:
    """The word set of each receipt as ranks from the rarest word up, and how many distinct sets have each rank."""
    normalised: dict[str, str] = {}
    sets: list[list[str]] = []
    for receipt in receipts:
        for word in receipt.words:
            if word.text not in normalised:
                normalised[word.text] = normalise_text(word.text)
        sets.append(sorted({normalised[word.text] for word in receipt.words} - {""}))
    counts = Counter(word for words in sets for word in words)
    by_rarity = sorted(counts, key=lambda word: (counts[word], word))
    rank = {word: place for place, word in enumerate(by_rarity)}
    return [tuple(sorted(rank[word] for word in words)) for words in sets], [counts[word] for word in by_rarity]


def _join_similar(
    union: _Union, ranked: Sequence[tuple[int, ...]], by_size: Sequence[int], token_counts: Sequence[int]
) -> None:
    """Join what is similar. `by_size` are positions of distinct word sets, smallest sets first."""
    as_sets = {index: frozenset(ranked[index]) for index in by_size}
    index_of_tokens: _Index = {}
    for index in by_size:
        words = ranked[index]
        size = len(words)
        # A set this large needs more than 4/5 of its words in common with a smaller one, so one of the words before.
        for place in range(size - NUMERATOR * size // DENOMINATOR):
            for (other_size, other_place), bucket in index_of_tokens.get(words[place], {}).items():
                needed = NUMERATOR * (size + other_size) // (NUMERATOR + DENOMINATOR) + 1
                if min(size - place, other_size - other_place) >= needed:
                    _join_bucket(union, index, bucket, as_sets, needed)
        # And a set at least as large as this one has more than 8/9 of this one's words.
        for place in range(size - 2 * NUMERATOR * size // (NUMERATOR + DENOMINATOR)):
            if token_counts[words[place]] > 1:
                buckets = index_of_tokens.setdefault(words[place], {})
                buckets.setdefault((size, place), {}).setdefault(union.root(index), []).append(index)


def _join_bucket(union: _Union, index: int, bucket: _Bucket, as_sets: dict[int, frozenset[int]], needed: int) -> None:
    """Join `index` with every group of the bucket that has a similar member; one such member is enough."""
    words = as_sets[index]
    for root, members in bucket.items():
        if union.root(root) == union.root(index):
            continue
        for member in members:
            if len(words & as_sets[member]) >= needed:
                union.join(index, member)
                break
