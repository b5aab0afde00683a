"""SROIE (ICDAR 2019): `box/*.txt` with a quad and a text a line, `key/*.json|txt` with company, address, date, total.

Lines are split at their spaces. No word is labelled: labels are found from the four keys. Company and address are runs
of lines with the same letters and digits, the date is wherever it stands, the total a number in rows that name it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Final

from receipt_trainer.data.page_words import DocumentWords, line_numbers
from receipt_trainer.data.problems import ProblemKind
from receipt_trainer.data.receipt import WordLabel
from receipt_trainer.data.sources.formats.pages import FileReading, Format, PageBuilder, document, split_of, text_of

LABELS: Final = {
    "company": "MERCHANT_NAME",
    "address": "ADDRESS_LINE",
    "date": "DATE",
    "total": "GRAND_TOTAL",
}
"""Keys of SROIE by the core label that means the same."""

_LINE = re.compile(r"[ \t]*(-?\d{1,6}(?:[ \t]*,[ \t]*-?\d{1,6}){7})[ \t]*,(.*)")
_KEY_FOLDERS: Final = ("key", "keys", "entities", "")
_RUNS: Final = {"company": (4, 0.80), "address": (9, 0.75)}
"""Consecutive lines that a key may take, and the likeness from which a run of them is taken for it."""
_SAYS_TOTAL = re.compile(r"TOTAL|NETT|AMOUNT DUE|BALANCE|ROUNDED")
_SAYS_OTHER = re.compile(r"SUB|EXCL|QTY|QUANTITY|TAX|CASH|CHANGE|DISCOUNT")
_AMOUNT = re.compile(r"\d{1,9}(?:[.,]\d{1,3})*")


def is_box_txt(text: str) -> bool:
    """Whether its first line is eight numbers and a text, separated by commas."""
    return _LINE.fullmatch(text.lstrip("\ufeff\n").partition("\n")[0].rstrip("\r")) is not None


def is_keys(value: Any) -> bool:
    """Whether it is the keys of a receipt and nothing else."""
    return isinstance(value, dict) and bool(value) and set(value) <= set(LABELS)


@dataclass(slots=True)
class _KeyedLine:
    """A line of the file and the numbers of its words on the page."""

    text: str
    words: list[int]


def read(reading: FileReading, text: str) -> Iterator[DocumentWords]:
    """One document of one page, with labels where its keys are found."""
    page = PageBuilder(reading, reading.name)
    lines: list[_KeyedLine] = []
    for row, given in enumerate(text.split("\n"), start=1):
        match = _LINE.fullmatch(given.rstrip("\r"))
        if match is None:
            if given.strip():
                reading.problems.add(ProblemKind.BAD_RECORD, reading.path.name, f"line {row}", given)
            continue
        values = [float(value) for value in match[1].split(",")]
        before = len(page.words)
        page.add(match[2], [(values[n], values[n + 1]) for n in range(0, 8, 2)], is_line=True)
        if len(page.words) > before:
            lines.append(_KeyedLine(match[2].strip(), list(range(before, len(page.words)))))
    rows = line_numbers([word.box for word in page.words])
    page.words = [replace(word, line=row) for word, row in zip(page.words, rows, strict=True)]
    keys = _keys(reading.path)
    for name, label in LABELS.items():
        key = text_of(keys.get(name)).strip()
        if key:
            found = _FINDERS[name](key, page, lines)
            page.mark_words(found, (WordLabel(label),))
    yield document(page.document, [page], source="sroie", split=split_of(reading.path))


def _keys(path: Path) -> dict[str, Any]:
    """The keys of a receipt, from the file of its name beside it or in a folder of keys beside its folder."""
    for folder in (path.parent, path.parent.parent):
        for place in _KEY_FOLDERS:
            for suffix in (".json", ".txt"):
                file = folder / place / (path.stem + suffix)
                if file == path or not file.is_file() or file.stat().st_size > 1_000_000:
                    continue
                try:
                    found = json.loads(file.read_bytes().decode("utf-8-sig", errors="replace"))
                except (OSError, ValueError, RecursionError):
                    continue
                if is_keys(found):
                    return dict(found)
    return {}


def _bare(text: str) -> str:
    return "".join(char for char in text.upper() if char.isalnum())


def _run(name: str, key: str, page: PageBuilder, lines: Sequence[_KeyedLine]) -> list[int]:
    """The words of the run of lines that is the key: the first from the top, else the one most like it."""
    wanted, (longest, likeness) = _bare(key), _RUNS[name]
    best: tuple[float, list[int]] = (likeness, [])
    for first in range(len(lines)):
        words: list[int] = []
        for line in lines[first : first + longest]:
            words = words + line.words
            bare = "".join(_bare(page.words[n].text) for n in words)
            if len(bare) > 3 * len(wanted) + 20:
                break
            if wanted and wanted in bare:
                return _trimmed(words, wanted, page)
            if min(len(bare), len(wanted)) * 2 < best[0] * (len(bare) + len(wanted)):
                continue  # no likeness of texts that differ so in length is better
            ratio = SequenceMatcher(None, bare, wanted, autojunk=False).ratio()
            if ratio > best[0]:
                best = (ratio, words)
    return best[1]


def _trimmed(words: list[int], wanted: str, page: PageBuilder) -> list[int]:
    """The words from the first to the last that bears a letter of `wanted`, which stands in them."""
    bare = [_bare(page.words[n].text) for n in words]
    start = "".join(bare).index(wanted)
    found, at = [], 0
    for place, part in enumerate(bare):
        if at < start + len(wanted) and at + len(part) > start and part:
            found.append(place)
        at += len(part)
    return words[found[0] : found[-1] + 1] if found else []


def _merchant(key: str, page: PageBuilder, lines: Sequence[_KeyedLine]) -> list[int]:
    return _run("company", key, page, lines)


def _address(key: str, page: PageBuilder, lines: Sequence[_KeyedLine]) -> list[int]:
    return _run("address", key, page, lines)


def _date(key: str, page: PageBuilder, lines: Sequence[_KeyedLine]) -> list[int]:
    """Every place where the date stands, also inside a longer word, and over several words of a line."""
    wanted = _bare(key)
    found: list[int] = []
    for line in lines:
        alone = [n for n in line.words if wanted and key.upper() in page.words[n].text.upper()]
        if not alone and wanted and wanted in "".join(_bare(page.words[n].text) for n in line.words):
            alone = _trimmed(line.words, wanted, page)
        found += alone
    return found


def _total(key: str, page: PageBuilder, lines: Sequence[_KeyedLine]) -> list[int]:
    """Words that are the total as a number: those in a row that names a total, or below it; else the lowest."""
    wanted = _amount(key)
    same = [n for n, word in enumerate(page.words) if wanted is not None and _amount(word.text) == wanted]
    rows: dict[int, str] = {}
    for word in page.words:
        rows[word.line or 0] = f"{rows.get(word.line or 0, '')} {word.text.upper()}"
    named = []
    for n in same:
        row = page.words[n].line or 0
        bare = rows[row].replace("RM", "")
        if _names_total(rows[row]) or (not any(map(str.isalpha, bare)) and _names_total(rows.get(row - 1, ""))):
            named.append(n)
    if named:
        return _with_currency(named, page)
    lowest = max((page.words[n].line or 0 for n in same), default=0)
    return _with_currency([n for n in same if page.words[n].line == lowest], page)


def _names_total(row: str) -> bool:
    return _SAYS_TOTAL.search(row) is not None and _SAYS_OTHER.search(row) is None


def _with_currency(words: list[int], page: PageBuilder) -> list[int]:
    before = {n - 1 for n in words if n and page.words[n].line == page.words[n - 1].line}
    return sorted({*words, *(n for n in before if page.words[n].text.strip().upper() in ("RM", "$", "MYR"))})


def _amount(text: str) -> float | None:
    """An amount in Malaysian writing, 1,234.50; None if it is none."""
    bare = text.strip().upper().removeprefix("RM").removeprefix("$").strip()
    return float(bare.replace(",", "")) if _AMOUNT.fullmatch(bare) and bare.count(".") < 2 else None


_FINDERS: Final = {"company": _merchant, "address": _address, "date": _date, "total": _total}

FORMAT: Final = Format(
    name="sroie",
    expected="lines of eight numbers and a text, separated by commas (box/*.txt; keys in key/*.json or *.txt)",
    is_text=is_box_txt,
    read_text=read,
    is_beside=is_keys,
)
