"""Dates and merchants that the model has not labelled, or not whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.finds import Evidence, Find, read_find
from receipt_trainer.extraction.merchants import MERCHANT, in_header
from receipt_trainer.extraction.totals import UNLABELLED


def date_in_words(words: Sequence[ReadWord], found: Mapping[str, Sequence[Find]], evidence: Evidence) -> list[Find]:
    """Where no date was labelled whole: the one day beside a word that was labelled, or else on the receipt."""
    if any(find.value is not None or find.ambiguous for find in found.get("DATE", ())):
        return []
    lines = [list(line) for _, line in groupby(words, key=lambda word: (word.page, word.line))]
    labelled = [line for line in lines if any(word.label == "DATE" for word in line)]
    for some in (labelled, lines):
        finds = [
            find
            for line in some
            for run in _date_runs(line)
            for find in read_find("DATE", run, evidence, min(UNLABELLED, *map(_is_date, run)))
            if find.value is not None or find.ambiguous
        ]
        if finds:
            return finds[:1] if len({find.value or find.ambiguous for find in finds}) == 1 else []
    return []


def _is_date(word: ReadWord) -> float:
    return word.score if word.label == "DATE" else 1 - word.score


def _date_runs(line: Sequence[ReadWord]) -> Iterator[Sequence[ReadWord]]:
    """Words that may be a date: one with a day, month and year, or three with the month's name (`5 MAY 2018`)."""
    for place, word in enumerate(line):
        if word.label in ("PHONE_NUMBER", "ADDRESS_LINE"):
            continue
        if re.search(r"\d.*[/.\-A-Za-z].*\d", word.text):
            yield [word]
        three = line[place : place + 3]
        if re.fullmatch(r"\W?\d\d?\W? [^\W\d]{3,}\W? (?:20)?\d\d\W?", " ".join(one.text for one in three)):
            yield three


def merchant_in_words(words: Sequence[ReadWord], found: Mapping[str, Sequence[Find]], evidence: Evidence) -> list[Find]:
    """Where no merchant was labelled: the line of the header that may be one."""
    name = [] if MERCHANT in found else in_header(words)
    return read_find(MERCHANT, name, evidence, UNLABELLED * (1 - min(word.score for word in name))) if name else []
