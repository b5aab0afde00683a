"""Labels of gold words given to the words that OCR read at the same places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Final

from receipt_trainer.data.receipt import Box, Receipt, Word

_SAME_LINE: Final = 0.4
"""Of the lower word: by so much two words must overlap vertically to be the same one."""
_SAME_PLACE: Final = 0.25
"""Of the narrower word, across."""
_ALIKE: Final = 0.5
"""Similarity of texts (2 x common / both lengths), letters and digits, from which a word is another one misread."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """A receipt as it was read, with the labels of its gold; counts of read and of gold words and of those that met."""

    receipt: Receipt
    words: int
    words_met: int
    gold: int
    gold_met: int


def align(read: Receipt, gold: Receipt) -> Aligned:
    """The read receipt with gold's id, source, split and fields, and each word with the labels of the gold word there.

    A read word takes the labels of the gold word that overlaps it and is most alike. One that is like none, as where it
    was garbled, takes them if the gold word covers half of it; so a label is lost only where nothing was read.
    """
    words, met, found = [], 0, set()
    for word in read.words:
        index, alike = _best(word, gold.words)
        if index is None:
            words.append(word)
            continue
        met += alike
        if alike:
            found.add(index)
        words.append(replace(word, labels=gold.words[index].labels))
    receipt = replace(
        read,
        image_id=gold.image_id,
        receipt_id=gold.receipt_id,
        words=tuple(words),
        name=gold.name,
        source=gold.source,
        split=gold.split,
        extra=gold.extra,
        review=gold.review,
    )
    return Aligned(receipt, len(words), met, len(gold.words), len(found))


def _best(word: Word, gold: Sequence[Word]) -> tuple[int | None, bool]:
    """The gold word that a read word is, and whether their texts say so too."""
    best, index, alike = 0.0, None, False
    for number, other in enumerate(gold):
        across = _overlap(word.box, other.box, 0)
        if across < _SAME_PLACE or _overlap(word.box, other.box, 1) < _SAME_LINE:
            continue
        likeness = _likeness(_plain(word.text), _plain(other.text))
        covered = (min(word.box[2], other.box[2]) - max(word.box[0], other.box[0])) / (word.box[2] - word.box[0])
        if likeness < _ALIKE and covered < 0.5:
            continue
        score = 2 * (likeness >= _ALIKE) + likeness + covered
        if score > best:
            best, index, alike = score, number, likeness >= _ALIKE
    return index, alike


def _overlap(one: Box, other: Box, axis: int) -> float:
    shared = min(one[axis + 2], other[axis + 2]) - max(one[axis], other[axis])
    return shared / min(one[axis + 2] - one[axis], other[axis + 2] - other[axis])


def _likeness(one: str, other: str) -> float:
    if not one or not other:
        return float(one == other)
    if one in other or other in one:
        return 1.0  # split or joined differently
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def _plain(text: str) -> str:
    """Letters and digits; signs where there are no others."""
    return "".join(char for char in text.lower() if char.isalnum()) or text
