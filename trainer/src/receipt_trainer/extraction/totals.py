"""What the words and the other amounts of a receipt say of its total, beside the labels."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Final

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.finds import Evidence, Find, read_find

UNLABELLED: Final = 0.5
"""A value that the model has not labelled is not taken for surer than this."""
PAYABLE: Final = 0.7
"""What it adds to an amount's confidence that its line names what is to be paid."""
TOTAL: Final = 0.2
"""The same of a line that says total and nothing else."""
OTHER: Final = -0.4
"""The same of a line that names a subtotal, a tax, a discount, a quantity, or what was paid."""
PAID: Final = 0.4
"""What it adds that money and change, or an exact payment, make this total."""
TAXED: Final = 0.3
"""What it adds that a base and its tax in one line make this total; the base loses as much."""

MOST: Final = 0.9
"""More does not speak for an amount: a label that is sure stays."""
MOST_TAX: Final = Decimal("0.3")
"""Of an amount: more is hardly a tax."""
COIN: Final = Decimal("0.04")
"""What rounding to coins may change."""
NAMED: Final = 3
"""Letters of a name; fewer are a currency or a tax code."""

_PRICE: Final = re.compile(r"\d[.,]\d\d")
_PAYABLE: Final = re.compile(
    r"grandtotal|(total|amount|amt|balance|net)(is)?(due|payable|topay)|tobepaid|paythisamount|a[ft]ter(rounding|adj)|"
    r"roundedtotal|gesamt(betrag|summe)|end(betrag|summe)|zuzahlen|zahlbetrag|rechnungsbetrag|apayer|totalttc|montantdu|"
    r"apagar|dapagare|importetotal|complessivo|tebetalen|totalbayar"
)
_WITH_TAX: Final = re.compile(
    r"(incl?|inclu[a-z]{0,2}(ive|ing|es))(of)?(gst|tax|vat|btw|iva|tva|mwst)|(gst|tax|vat|btw|iva|tva|mwst)incl"
)
_TOTAL: Final = re.compile(r"total|totaa?l|due|jumlah|summe|betrag|importe|nett?am")
_OTHER: Final = re.compile(
    r"sub|zwischen|sous|parcial|excl?|before|netto(?!tal)|totalht|imponib|tax|gst|vat|mwst|ust(?!o)|btw|iva|tva|qty|quantity|"
    r"item|pcs|disc|rabatt|remise|descuento|sconto|saving|saved|point|punkt|servicech"
)
_MONEY: Final = re.compile(
    r"cash|tender|paid|payment|received|credit|debit|visa|master|card|bargeld|gegeben|espece|carte|entregado|efectivo|"
    r"contant|tarjeta|tunai"
)
_CHANGE: Final = re.compile(r"change|ruckgeld|wechselgeld|rendu|monnaie|cambio|resto|wisselgeld|kembali|baki")


@dataclass(frozen=True, slots=True)
class Place:
    """An amount on the page: its find as a total, the letters that name it, and what they say of a total."""

    find: Find
    amount: Decimal
    line: int
    text: str
    said: float


def places(words: Sequence[ReadWord], evidence: Evidence) -> list[Place]:
    """The amounts with decimals of a receipt that may be its total, in reading order."""
    found: list[Place] = []
    above = ""
    for number, (_, group) in enumerate(groupby(words, key=lambda word: (word.page, word.line))):
        line = list(group)
        whole = _letters(line)
        amounts = [place for place, word in enumerate(line) if _PRICE.search(word.text)]
        for start, place in zip([0, *(one + 1 for one in amounts)], amounts, strict=False):
            word, text = line[place], _letters(line[start:place])
            text = text if len(text) >= NAMED else whole if len(whole) >= NAMED else above
            find = _find(word, evidence)
            if find is not None and find.amount is not None and find.amount > 0:
                found.append(Place(find, find.amount, number, text, _said(text, alone=len(amounts) == 1)))
        above = "" if amounts else whole
    return found


def _find(word: ReadWord, evidence: Evidence) -> Find | None:
    if word.label not in (OUTSIDE, "LINE_TOTAL", "GRAND_TOTAL"):
        return None
    if word.label != "GRAND_TOTAL" and word.score == 1:
        return None  # a person has said what it is
    score = word.score if word.label == "GRAND_TOTAL" else min(UNLABELLED, 1 - word.score)
    return read_find("GRAND_TOTAL", [word], evidence, score)[0]


def _letters(words: Sequence[ReadWord]) -> str:
    text = unicodedata.normalize("NFKD", "".join(word.text for word in words).casefold())
    return "".join(char for char in text if char.isalpha())


def _said(text: str, *, alone: bool) -> float:
    if _PAYABLE.search(text):
        return PAYABLE
    plain = _WITH_TAX.sub("", text)  # a total with the tax in it is one
    if any(pattern.search(plain) for pattern in (_MONEY, _CHANGE, _OTHER)):
        return OTHER
    return TOTAL / (1 if alone else 2) if _TOTAL.search(text) else 0.0


def backed(found: Sequence[Place]) -> dict[Decimal, float]:
    """What the names of amounts, money and change, and a base with its tax say for or against each amount."""
    weights: dict[Decimal, float] = {}
    for place in found:
        known = weights.get(place.amount, place.said)
        weights[place.amount] = max(known, place.said) if max(known, place.said) > 0 else min(known, place.said)
    change = [place.amount for place in found if _CHANGE.search(place.text)]
    money = [place.amount for place in found if _MONEY.search(place.text) and not _CHANGE.search(place.text)]
    bought = {place.amount for place in found if not (_MONEY.search(place.text) or _CHANGE.search(place.text))}
    for paid in {given - back for given in money for back in [*change, Decimal(0)]} & bought:
        weights[paid] = max(weights[paid], 0.0) + PAID
    sums = {
        (base, one) for base, tax in _taxed(found) for one in weights if base < one and abs(base + tax - one) <= COIN
    }
    for whole in {whole for _, whole in sums}:
        weights[whole] += TAXED
    for base in {base for base, _ in sums}:
        weights[base] -= TAXED
    return {amount: min(weight, MOST) for amount, weight in weights.items()}


def _taxed(found: Sequence[Place]) -> set[tuple[Decimal, Decimal]]:
    """Amounts beside each other, or both named as no totals, of which the other may be the tax of one."""
    return {
        (one.amount, other.amount)
        for one in found
        for other in found
        if one is not other
        and 0 < other.amount <= MOST_TAX * one.amount
        and (one.line == other.line or (_OTHER.search(one.text) and _OTHER.search(other.text)))
    }
