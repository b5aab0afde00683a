"""Turns the records of any source into sound receipts or named problems."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from receipt_trainer.contract.names import VALIDATION_STATUSES
from receipt_trainer.contract.tables import moment
from receipt_trainer.data.labels import is_known
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Box, Receipt, Review, Word, WordLabel

MAX_WORDS: Final = 4000
CLIP_TOLERANCE: Final = 0.01
"""A box this far over the edge, as a fraction of the page, is a rounding error and is clipped."""
MIN_EXTENT: Final = 1e-5
"""A box thinner than this, as a fraction of the page, has no area (0.02 pixels of a page of 2000)."""
BOX_DECIMALS: Final = 12
"""Boxes are rounded to so many decimals: a receipt is the same receipt, read from JSON lines or from a table."""
MAX_TEXT: Final = 2000
"""Characters of the longest text that is still one word."""
MAX_NAME: Final = 200
"""Characters of the longest name of a receipt, source or split."""
MAX_KEY: Final = 100
"""Characters of the longest image id or label: both stand in one index key of at most 1024 bytes."""

_SPACES: Final = "\t\n\v\f\r"
"""Control characters that part words."""

_PREFIXED = re.compile(r"(?P<tag>[BIESLUM])(?P<mark> ?[-_.] ?)(?P<label>.+)", re.DOTALL | re.IGNORECASE)
_SUFFIXED = re.compile(r"(?P<label>.+?)(?P<mark> ?[-_.] ?)(?P<tag>[BIESLUM])", re.DOTALL | re.IGNORECASE)
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


def is_name(value: Any, longest: int = MAX_NAME) -> bool:
    """Whether `value` can name something: a text that is not blank, not too long, and encodes as UTF-8."""
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        return False
    return not any(unicodedata.category(char) in ("Cc", "Cs") for char in value)


def sound_box(
    corners: Iterable[Any], receipt: str, where: str, problems: ProblemLog, shown: object = None
) -> Box | None:
    """A box as top-left fractions, clipped if it is barely over the edge; None, and a problem, if it is no box.

    Args:
        shown: the box as its source has it, to stand in the problem.
    """
    corners = list(corners)
    given = corners if shown is None else shown
    numbers = [number(value) for value in corners]
    if len(numbers) != 4 or any(value is None for value in numbers):
        problems.add(ProblemKind.BAD_BOX, receipt, where, given)
        return None
    x0, y0, x1, y1 = (value for value in numbers if value is not None)
    if x1 - x0 < MIN_EXTENT or y1 - y0 < MIN_EXTENT:
        problems.add(ProblemKind.BAD_BOX, receipt, where, given)
        return None
    if min(x0, y0) < -CLIP_TOLERANCE or max(x1, y1) > 1 + CLIP_TOLERANCE or max(x0, y0) >= 1 or min(x1, y1) <= 0:
        problems.add(ProblemKind.BOX_OUTSIDE_PAGE, receipt, where, given)
        return None
    clipped = (max(0.0, x0), max(0.0, y0), min(1.0, x1), min(1.0, y1))
    if min(clipped[2] - clipped[0], clipped[3] - clipped[1]) < MIN_EXTENT:
        problems.add(ProblemKind.BOX_OUTSIDE_PAGE, receipt, where, given)
        return None
    if max(abs(a - b) for a, b in zip(clipped, (x0, y0, x1, y1), strict=True)) > 1e-6:
        problems.add(ProblemKind.BOX_CLIPPED, receipt, where, given)
    x0, y0, x1, y1 = (round(value, BOX_DECIMALS) for value in clipped)
    return x0, y0, x1, y1


def clean(
    receipt: Receipt, problems: ProblemLog, max_words: int = MAX_WORDS, places: Sequence[str] | None = None
) -> Receipt | None:
    """Drop invalid words and labels, note the odd ones; None if nothing sound is left.

    The words' boxes must have passed `sound_box`. Words come back in reading order: by line, then as given; labels
    of a word by name.

    Args:
        receipt: as its source gives it.
        problems: takes what was dropped or noted.
        max_words: a receipt with more is left out.
        places: where each word stands in its source, to name it in a problem; `word 0`... by default.
    """
    key = receipt.name or receipt.key
    if len(receipt.words) > max_words:
        problems.add(ProblemKind.TOO_MANY_WORDS, key, detail=f"{len(receipt.words)} words, at most {max_words}")
        return None
    words = []
    for index, word in enumerate(receipt.words):
        kept = _clean_word(word, key, places[index] if places else f"word {index}", problems)
        if kept is not None:
            words.append(kept)
    if not words:
        problems.add(ProblemKind.NO_WORDS, key)
        return None
    words.sort(key=lambda word: word.line)
    return replace(receipt, words=tuple(words))


def _clean_word(word: Word, key: str, where: str, problems: ProblemLog) -> Word | None:
    spaced = "".join(" " if char in _SPACES else char for char in word.text)
    text = "".join(char for char in spaced if unicodedata.category(char) not in ("Cc", "Cs")).strip()
    if all(unicodedata.category(char) == "Cf" for char in text):  # nothing, or joiners and direction marks only
        problems.add(ProblemKind.EMPTY_TEXT, key, where, word.text)
        return None
    if len(text) > MAX_TEXT:
        problems.add(ProblemKind.TEXT_TOO_LONG, key, where, f"{len(text)} characters, at most {MAX_TEXT}")
        return None
    if text != word.text and text != word.text.strip():
        problems.add(ProblemKind.TEXT_CHANGED, key, where, word.text)
    if _EMOJI.search(text):
        problems.add(ProblemKind.EMOJI_TEXT, key, where, text)
    if any(unicodedata.bidirectional(char) in ("R", "AL") for char in text):
        problems.add(ProblemKind.RIGHT_TO_LEFT_TEXT, key, where, text)
    labels = _clean_labels(word.labels, key, where, problems)
    return word if text == word.text and labels == word.labels else replace(word, text=text, labels=labels)


def _clean_labels(labels: Iterable[WordLabel], key: str, where: str, problems: ProblemLog) -> tuple[WordLabel, ...]:
    kept: dict[str, WordLabel] = {}
    for label in labels:
        shown = f"{label.name} {label.status}"
        if not is_name(label.name, MAX_KEY):
            problems.add(ProblemKind.BAD_LABEL, key, where, shown)
        elif label.status not in VALIDATION_STATUSES:
            problems.add(ProblemKind.BAD_STATUS, key, where, shown)
        elif label.name in kept:
            problems.add(ProblemKind.DUPLICATE_LABEL, key, where, shown)
        elif label.proposed_by and not is_name(label.proposed_by):
            problems.add(ProblemKind.BAD_FIELD, key, where, f"{label.name} proposed by {label.proposed_by}")
            kept[label.name] = replace(label, proposed_by="")
        else:
            kept[label.name] = label
    valid = sorted(label.name for label in kept.values() if label.status == "VALID")
    if len(valid) > 1:
        problems.add(ProblemKind.CONFLICTING_LABELS, key, where, valid)
    return tuple(kept[name] for name in sorted(kept))


def strip_prefixes(receipts: Iterable[Receipt], problems: ProblemLog) -> list[Receipt]:
    """The receipts of one data set with labels without BIO, IOB, BIOES, BILOU or BMES tags, and a problem for each.

    A tag stands before the label or, where some have a B there, behind it (`DATE-B`). It goes where every label of the
    data set has one, a B, I, S or U among them, or where what it is a tag of is one of our labels, stands elsewhere
    without a tag or with another: `E-MAIL` is a label. `B_` and `B.` are tags where every label has one and some a B:
    `S_TOTAL` is a label.
    """
    found = list(receipts)
    names = {label.name for receipt in found for word in receipt.words for label in word.labels}
    bare = _bare(names, _PREFIXED) or _bare(names, _SUFFIXED)
    return [_without_prefixes(receipt, bare, problems) for receipt in found] if bare else found


def _bare(names: Collection[str], pattern: re.Pattern[str]) -> dict[str, str]:
    """What the labels are without their tags, of those whose tags go."""
    parts = {name: match for name in names if (match := pattern.fullmatch(name)) is not None}
    times = Counter(match["label"] for match in parts.values() if match["mark"] == "-")
    is_scheme = len(parts) == len(names) and any(match["tag"] in "BISUbisu" for match in parts.values())
    begins = any(match["tag"] in "Bb" for match in parts.values())
    if pattern is _SUFFIXED and not begins:  # sizes: SHIRT-S, SHIRT-M
        return {}
    return {
        name: match["label"]
        for name, match in parts.items()
        if (is_scheme and (begins or match["mark"] == "-"))
        or (match["mark"] == "-" and (times[match["label"]] > 1 or match["label"] in names or is_known(match["label"])))
    }


def _without_prefixes(receipt: Receipt, bare: Mapping[str, str], problems: ProblemLog) -> Receipt:
    key, words = receipt.name or receipt.key, []
    problems.place = problems.places.get(receipt.key, "")
    for n, word in enumerate(receipt.words):
        for label in word.labels:
            if label.name in bare:
                shown = f"{label.name} is {bare[label.name]}"
                problems.add(ProblemKind.LABEL_PREFIX_STRIPPED, key, f"word {n}", shown)
        labels = tuple(replace(label, name=bare.get(label.name, label.name)) for label in word.labels)
        words.append(replace(word, labels=_clean_labels(labels, key, f"word {n}", problems)))
    problems.place = ""
    return replace(receipt, words=tuple(words))


def parse_review(value: Any) -> Review | None:
    """The mark {confirmed, by, at} of a receipt; None for anything else, which other programs may call so."""
    if (
        not isinstance(value, dict)
        or set(value) != {"confirmed", "by", "at"}
        or not isinstance(value["confirmed"], bool)
    ):
        return None
    by, at = value["by"], value["at"]
    if not isinstance(at, str) or not (by == "" or is_name(by)) or (at and moment(at) is None):
        return None
    return Review(value["confirmed"], by, at)
