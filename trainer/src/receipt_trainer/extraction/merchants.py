"""Where a merchant's name begins and ends: what its words say beside their labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.labels import NAMES
from receipt_trainer.extraction.entities import ReadWord

MERCHANT: Final = "MERCHANT_NAME"
UNSURE: Final = 0.8
"""A word of no label that is read with less than this, beside a word of a name, may belong to it."""
SURE: Final = 0.95
"""One that is read with more does not begin a name."""
DOUBT: Final = 0.1
"""Mean doubt of a header's words from which they may be a name that was not labelled."""
HEADER: Final = 6
"""Lines in which a merchant's name stands, where no address ends them."""

_FORM: Final = re.compile(
    r"(?:^|\s)(?:sdn\.?\s*bhd|s/b|bhd|berhad|(?:pte\.?\s*)?ltd|limited|inc|llc|llp|plc|corp|gmbh(?:\s*&\s*co\.?\s*kg)?|ag|kg|"
    r"ohg|e\.\s?k|s\.?a\.?r\.?l|s\.?a\.?s|s\.?r\.?l|s\.?p\.?a|s\.?l\.?u?|s\.?a|b\.?v|n\.?v|enterprises?)\W*$",
    re.I,
)
_OPEN: Final = re.compile(r"(?:[&(,\-]|\b(?:of|by|and|und|et|y|e))\s*$", re.I)
_NOT_A_NAME: Final = re.compile(
    r"invoice|receipt|rechnung|quittung|facture|ticket|fattura|scontrino|tel|fax|gst|tax|date|[:@]", re.I
)


def companies(block: Sequence[ReadWord]) -> list[list[ReadWord]]:
    """The names in the lines of one block: a line with a company's legal form ends a name, and one that has a whole
    name before it begins one (`Best Burger / Smith Foods Ltd / City Mall` are three)."""
    found: list[list[ReadWord]] = []
    ended = True
    for _, group in groupby(block, key=lambda word: (word.page, word.line)):
        line = list(group)
        text = _text(line)
        before = _text(found[-1]) if found else ""
        goes_on = before.count("(") > before.count(")") or text.startswith(("(", "&")) or _OPEN.search(before)
        goes_on = goes_on or _FORM.match(text)  # the form alone is of the name above
        if not found or (
            not goes_on and (ended or _whole(text) or (_score(found[-1]) < UNSURE and _score(line) > SURE))
        ):
            found.append([])
        found[-1].extend(line)
        ended = is_company(text)
    return found


def is_company(text: str) -> bool:
    """Whether a name ends with a company's legal form."""
    return _FORM.search(text) is not None


def _text(words: Sequence[ReadWord]) -> str:
    return " ".join(word.text for word in words)


def _whole(text: str) -> bool:
    """Whether a line is a company's name by itself: two words at least before its legal form."""
    form = _FORM.search(text)
    name = text[: form.start()] if form else ""
    words = [
        word for word in re.sub(r"\([^)]*\)", "", name).split() if re.search(r"[^\W\d_]{2}|[^\W\d_]\W[^\W\d_]", word)
    ]
    return len(words) > 1 and name.count("(") == name.count(")")


def _score(words: Sequence[ReadWord]) -> float:
    return sum(word.score for word in words) / len(words)


def bridged(words: Sequence[ReadWord]) -> list[ReadWord]:
    """The words, unsure ones between two of a name, or between a line's beginning and a merchant, as the name's."""
    found = list(words)
    for before, place, after in zip(range(len(words)), range(1, len(words)), range(2, len(words)), strict=False):
        one, between, other = found[before], found[place], found[after]
        same_line = (one.page, one.line) == (between.page, between.line) == (other.page, other.line)
        if same_line and one.label == other.label and one.label in NAMES and between.label == OUTSIDE:
            found[place] = replace(between, label=one.label) if between.score < UNSURE else between
    lines = [
        list(line) for _, line in groupby(range(len(found)), key=lambda place: (found[place].page, found[place].line))
    ]
    for above, line, below in zip(lines, lines[1:], lines[2:], strict=False):
        ends = {found[above[-1]].label, found[below[0]].label}
        unsure = all(found[place].label == OUTSIDE and found[place].score < UNSURE for place in line)
        if unsure and ends == {MERCHANT}:
            found[line[0] : line[-1] + 1] = [replace(found[place], label=MERCHANT) for place in line]
    for line in lines:
        start = next((number for number, place in enumerate(line) if found[place].label != OUTSIDE), 0)
        ahead = [found[place] for place in line[:start]]
        doubted = (
            ahead and ahead[-1].score < UNSURE and all(word.score < SURE and ":" not in word.text for word in ahead)
        )
        if doubted and found[line[start]].label == MERCHANT:
            found[line[0] : line[start]] = [replace(word, label=MERCHANT) for word in ahead]
    return found


def in_header(words: Sequence[ReadWord]) -> list[ReadWord]:
    """Where no merchant was labelled: the header's line that the model has doubted most; none if it was sure of all."""
    best: tuple[float, list[ReadWord]] = (DOUBT, [])
    for number, (_, group) in enumerate(groupby(words, key=lambda word: (word.page, word.line))):
        line = list(group)
        score = _score(line)
        labels = {word.label for word in line}
        if number >= HEADER or ("ADDRESS_LINE" in labels and score >= SURE):
            break
        text = _text(line)
        is_name = (
            labels <= {OUTSIDE, "ADDRESS_LINE"} and re.search(r"[^\W\d_]{3}", text) and not _NOT_A_NAME.search(text)
        )
        if is_name and 1 - score > best[0]:
            best = 1 - score, line
    return best[1]
