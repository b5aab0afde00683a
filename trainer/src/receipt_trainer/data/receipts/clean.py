"""Whatever a source delivers becomes a sound receipt, or a named problem."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from receipt_trainer.contract.names import VALIDATION_STATUSES
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Box, Receipt, Word

MAX_WORDS: Final = 4000
CLIP_TOLERANCE: Final = 0.01
"""A box this far over the edge, as a fraction of the page, is a rounding error and is clipped."""

_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f]")


def number(value: Any) -> float | None:
    """A finite number, or None for anything else (booleans and texts included)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


def sound_box(corners: Iterable[Any], receipt: str, where: str, problems: ProblemLog) -> Box | None:
    """A box as top-left fractions, clipped if it is barely over the edge; None, and a problem, if it is no box."""
    given = list(corners)
    numbers = [number(value) for value in given]
    if len(numbers) != 4 or any(value is None for value in numbers):
        problems.add(ProblemKind.BAD_BOX, receipt, where, given)
        return None
    x0, y0, x1, y1 = (value for value in numbers if value is not None)
    if x1 <= x0 or y1 <= y0:
        problems.add(ProblemKind.BAD_BOX, receipt, where, given)
        return None
    if min(x0, y0) < -CLIP_TOLERANCE or max(x1, y1) > 1 + CLIP_TOLERANCE or max(x0, y0) >= 1 or min(x1, y1) <= 0:
        problems.add(ProblemKind.BOX_OUTSIDE_PAGE, receipt, where, given)
        return None
    clipped = (max(0.0, x0), max(0.0, y0), min(1.0, x1), min(1.0, y1))
    if clipped != (x0, y0, x1, y1) and max(abs(a - b) for a, b in zip(clipped, (x0, y0, x1, y1), strict=True)) > 1e-6:
        problems.add(ProblemKind.BOX_CLIPPED, receipt, where, given)
    return clipped


def clean(receipt: Receipt, problems: ProblemLog, max_words: int = MAX_WORDS) -> Receipt | None:
    """Drop words and labels that are none, note the odd ones; None if nothing sound is left.

    The words' boxes must have passed `sound_box`. Words come back in reading order: by line, then as given.
    """
    key = receipt.name or receipt.key
    if len(receipt.words) > max_words:
        problems.add(ProblemKind.TOO_MANY_WORDS, key, detail=f"{len(receipt.words)} words, at most {max_words}")
        return None
    words = []
    for index, word in enumerate(receipt.words):
        kept = _clean_word(word, key, f"word {index}", problems)
        if kept is not None:
            words.append(kept)
    if not words:
        problems.add(ProblemKind.NO_WORDS, key)
        return None
    words.sort(key=lambda word: word.line)
    return replace(receipt, words=tuple(words))


def _clean_word(word: Word, key: str, where: str, problems: ProblemLog) -> Word | None:
    text = "".join(char for char in word.text if unicodedata.category(char) not in ("Cc", "Cs")).strip()
    if not text:
        problems.add(ProblemKind.EMPTY_TEXT, key, where, word.text)
        return None
    if _EMOJI.search(text):
        problems.add(ProblemKind.EMOJI_TEXT, key, where, text)
    if any(unicodedata.bidirectional(char) in ("R", "AL") for char in text):
        problems.add(ProblemKind.RIGHT_TO_LEFT_TEXT, key, where, text)
    labels = tuple(label for label in word.labels if label.status in VALIDATION_STATUSES)
    for label in word.labels:
        if label.status not in VALIDATION_STATUSES:
            problems.add(ProblemKind.BAD_STATUS, key, where, f"{label.name} {label.status}")
    if len({label.name for label in labels if label.status == "VALID"}) > 1:
        problems.add(ProblemKind.CONFLICTING_LABELS, key, where, sorted(label.name for label in labels))
    return word if text == word.text and labels == word.labels else replace(word, text=text, labels=labels)
