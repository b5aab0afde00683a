"""Merchants and addresses that are known, and what was read put right by them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Final

from receipt_trainer.data.dedup import letters
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.errors import UserError
from receipt_trainer.extraction.finds import field_runs, labelled_words
from receipt_trainer.files import open_text

NEAREST: Final = 0.88
"""Similarity (2 x common / both lengths) from which a text is taken for a known one."""
AHEAD: Final = 0.03
"""By so much the next other known text must be less similar."""
OFTEN: Final = 2
"""Receipts of the training set in which a merchant or an address stands that the model's package names."""
SHORTEST: Final = 6
"""Letters and digits of the shortest text that is put right."""


@dataclass(frozen=True)
class Known:
    """Texts by their letters and digits, as they are written."""

    merchants: dict[str, str]
    addresses: dict[str, str]

    def merchant(self, text: str) -> str | None:
        """The known merchant that a text misspells; None if there is none, or it is spelt right."""
        return _nearest(text, self.merchants)

    def address(self, text: str) -> str | None:
        """The same of an address; one whose digits differ is another address."""
        return _nearest(text, self.addresses)


def make_known(merchants: Iterable[str], addresses: Iterable[str]) -> Known:
    """Known texts; of several spellings of one the first."""
    tables: list[dict[str, str]] = [{}, {}]
    for table, texts in zip(tables, (merchants, addresses), strict=True):
        for text in texts:
            if len(key := letters(text)) >= SHORTEST:
                table.setdefault(key, " ".join(text.split()))
    return Known(*tables)


def known_of(receipts: Iterable[Receipt]) -> dict[str, list[str]]:
    """Merchants and addresses that people have labelled in `OFTEN` receipts or more, by "merchants" and "addresses".

    The commonest spelling of each stands for it.
    """
    spelt: dict[str, dict[str, Counter[str]]] = {"MERCHANT_NAME": {}, "ADDRESS_LINE": {}}
    for receipt in receipts:
        words = labelled_words(receipt)
        for label, table in spelt.items():
            block = next((run for name, run in field_runs(words) if name == label), ())
            text = " ".join(word.text for word in block)
            table.setdefault(letters(text), Counter())[text] += 1
    often = {
        label: [
            texts.most_common(1)[0][0]
            for key, texts in table.items()
            if len(key) >= SHORTEST and texts.total() >= OFTEN
        ]
        for label, table in spelt.items()
    }
    return {"merchants": sorted(often["MERCHANT_NAME"]), "addresses": sorted(often["ADDRESS_LINE"])}


def read_known(path: Path) -> Known:
    """JSON lines with `merchant` and `address`, each a text or left out.

    Raises:
        UserError: it cannot be read, or a line is something else.
    """
    found: dict[str, list[str]] = {"merchant": [], "address": []}
    try:
        with open_text(path) as stream:
            for number, line in enumerate(stream, start=1):
                record: Any = json.loads(line) if line.strip() else {}
                if record and isinstance(record, dict) and not found.keys() & record.keys():
                    record = None
                for key, texts in found.items():
                    value = record.get(key) if isinstance(record, dict) else 0
                    if value is not None and not isinstance(value, str):
                        raise UserError(f'{path}:{number}: write {{"merchant": "...", "address": "..."}}')
                    texts += [value] if value else []
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot read known merchants: {getattr(error, 'strerror', None) or error}") from None
    return make_known(found["merchant"], found["address"])


def _nearest(text: str, table: dict[str, str]) -> str | None:
    key = letters(text)
    if key in table or len(key) < SHORTEST:
        return None
    scores: list[tuple[float, str]] = []
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(key)
    for other in table:
        matcher.set_seq1(other)
        if matcher.real_quick_ratio() < NEAREST or matcher.quick_ratio() < NEAREST:
            continue
        ratio = matcher.ratio()
        if ratio >= NEAREST - AHEAD:
            scores.append((ratio, other))
    scores.sort(reverse=True)
    if not scores or scores[0][0] < NEAREST or (len(scores) > 1 and scores[1][0] > scores[0][0] - AHEAD):
        return None
    best = scores[0][1]
    return table[best] if _digits(key) == _digits(best) else None


def _digits(key: str) -> str:
    """The digits of a text, those included that are read as letters in front of or behind a digit."""
    alike = str.maketrans("OQDILZSB", "00011258")
    return re.sub(r"\D", "", re.sub(r"(?<=\d)[OQDILZSB]+|[OQDILZSB]+(?=\d)", lambda m: m[0].translate(alike), key))
