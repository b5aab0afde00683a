"""What a stored receipt becomes by what a person made of it: no label is forgotten, nor who proposed it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from receipt_trainer.data.receipt import ORIGINAL_TEXT, Receipt, Review, Word
from receipt_trainer.errors import UserError

_SAME_BOX: Final = 0.01
"""Edges of one word, read twice, as parts of the page: answers are rounded."""


def same_words(stored: Receipt, made: Receipt) -> bool:
    """Whether two receipts have the same words by number and place."""
    return len(stored.words) == len(made.words) and all(
        max(abs(a - b) for a, b in zip(one.box, other.box, strict=True)) < _SAME_BOX
        for one, other in zip(stored.words, made.words, strict=True)
    )


def corrected(stored: Receipt, made: Receipt) -> Receipt:
    """The stored receipt with the texts, labels and review of what a person made of it.

    Of each word that was judged, by itself or since the receipt is confirmed, the person's label is VALID and every
    other one INVALID. A receipt that was confirmed stays so; one without a review, whose labels count as all there are,
    gets none from a correction of some words.

    Args:
        made: has a review; its words are those of the stored receipt in their order.

    Raises:
        UserError: it has other words.
    """
    review = made.review
    if review is None:
        raise ValueError("what a person made has a review")
    if not same_words(stored, made):
        raise UserError(f"{stored.name or stored.key}: it has other words than were corrected: read it again")
    words = tuple(_word(old, new, review) for old, new in zip(stored.words, made.words, strict=True))
    is_whole = stored.is_labelled() if stored.review is None else stored.review.confirmed
    return replace(stored, words=words, review=stored.review if is_whole and not review.confirmed else review)


def _word(old: Word, new: Word, review: Review) -> Word:
    extra = old.extra | ({ORIGINAL_TEXT: old.extra.get(ORIGINAL_TEXT, old.text)} if new.text != old.text else {})
    label = next((each.name for each in new.labels if each.status == "VALID"), None)
    labels = {each.name: each for each in old.labels}
    if label is not None or review.confirmed:
        labels = {each.name: each for each in new.labels} | labels
        for name, each in labels.items():
            status = "VALID" if name == label else "INVALID"
            if each.status != status or name not in {one.name for one in old.labels}:
                labels[name] = replace(each, status=status, added=review.at)
    return replace(old, text=new.text, labels=tuple(labels[name] for name in sorted(labels)), extra=extra)
