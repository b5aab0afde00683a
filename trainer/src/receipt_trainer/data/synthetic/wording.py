"""The texts of one document: words chosen once, amounts, dates and quantities written one way."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache
from random import Random

from babel import Locale as Cldr
from babel.dates import format_date
from babel.numbers import NumberPattern, get_currency_precision, get_currency_symbol, parse_pattern

from receipt_trainer.data.synthetic.locales import Locale, cldr, fill, pick
from receipt_trainer.data.synthetic.page import Family
from receipt_trainer.data.synthetic.purchase import Document, Item, Party


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A name and its value, maybe an amount between them; `label` is of the value's words ("" for none)."""

    name: str
    value: str
    label: str = ""
    bold: bool = False
    middle: str = ""


@dataclass(frozen=True, slots=True)
class Wording:
    """One document in words.

    Attributes:
        say: a word for each of the language's keys.
        numbers: whose decimal sign and thousands are used; `grouped`: whether thousands are set apart.
        codes: letters of the tax rates, where lines have their own and say which.
        asides: numbers and dates of an invoice that the truth has no place for.
        marks, total_marks: what stands around an amount of a line and of a total, `{}` being the number.
        net_table: whether taxes that the prices include are a table with their net amounts.
    """

    document: Document
    locale: Locale
    say: Mapping[str, str]
    codes: Mapping[Decimal, str]
    asides: tuple[LabelledRow, ...]
    numbers: Cldr
    grouped: bool
    marks: str
    total_marks: str
    date_form: str
    net_table: bool

    def amount(self, value: Decimal, marks: str | None = None) -> str:
        """An amount with the currency's digits; with the marks of totals unless others are given."""
        text = written(abs(value), get_currency_precision(self.document.currency), self.numbers, self.grouped)
        text = (self.total_marks if marks is None else marks).format(text)
        return f"-{text}" if value < 0 else text

    def quantity(self, value: Decimal, digits: int | None = None) -> str:
        """A quantity or percent, with the digits that it has if no others are asked for."""
        if digits is None:
            digits = max(0, -int(value.normalize().as_tuple().exponent))
        return written(value, digits, self.numbers, False)

    def facts(self) -> list[LabelledRow]:
        """Number and dates."""
        document = self.document
        rows = [LabelledRow(self.say["number"], document.number)] if document.number else []
        if document.day_shown:
            rows.append(LabelledRow(self.say["date"], self.date, "DATE"))
        if document.due_days is not None:
            rows.append(LabelledRow(self.say["due"], format_date(document.due, self.date_form, self.locale.cldr)))
        return [*rows, *self.asides]

    @property
    def date(self) -> str:
        """The document's date."""
        return format_date(self.document.moment, self.date_form, self.locale.cldr)

    def contacts(self, party: Party) -> list[LabelledRow]:
        """Phone and tax number."""
        rows = [LabelledRow(self.say["phone"], party.phone, "PHONE_NUMBER")] if party.phone else []
        return [*rows, LabelledRow(party.tax_id_name, party.tax_id)] if party.tax_id else rows

    def cells(self, item: Item) -> dict[str, str]:
        """A line of the table; what it has not is ""."""
        digits = 3 if item.measure else None
        return {
            "item": item.description,
            "quantity": "" if item.quantity is None else self.quantity(item.quantity, digits),
            "price": "" if item.unit_price is None else self.amount(item.unit_price, self.marks),
            "amount": self.amount(item.total, self.marks),
        }

    def totals(self) -> list[LabelledRow]:
        """From the subtotal to the grand total; taxes that the prices include follow it."""
        totals, terms = self.document.totals, self.document.terms
        rows = (
            [LabelledRow(self.say["subtotal"], self.amount(totals.subtotal), "SUBTOTAL")]
            if terms.subtotal_shown
            else []
        )
        if totals.discount:
            rows.append(LabelledRow(self.say["discount"], self.amount(-totals.discount)))
        if totals.service:
            name = f"{self.say['service']} {self.quantity(terms.service)}%"
            rows.append(LabelledRow(name, self.amount(totals.service)))
        after = terms.inside and not terms.net_shown
        if not after:
            rows += self._taxes(inside=False)
        if totals.rounding:
            rows.append(LabelledRow(self.say["rounding"], self.amount(totals.rounding, "{}")))
        rows.append(LabelledRow(self.say["total"], self.amount(totals.grand_total), "GRAND_TOTAL", bold=True))
        return [*rows, *self._taxes(inside=True)] if after else rows

    def _taxes(self, *, inside: bool) -> list[LabelledRow]:
        terms, taxes = self.document.terms, self.document.totals.taxes if self.document.terms.tax_shown else ()
        table = self.net_table and (inside or terms.by_line)
        rows = [LabelledRow("", taxes[0].name, middle=self.say["net"])] if table and len(taxes) > 1 else []
        for tax in taxes:
            name = f"{tax.name} {self.quantity(tax.rate)}%" if terms.rate_shown else tax.name
            name = f"{self.codes[tax.rate]} {name}" if tax.rate in self.codes else name
            name = self.say["included"].format(name) if inside and not table else name
            middle = self.amount(tax.net, "{}") if table else ""
            rows.append(LabelledRow(name, self.amount(tax.amount, "{}" if table else None), "TAX", middle=middle))
        return rows


@cache
def _pattern(code: str, digits: int) -> NumberPattern:
    whole = cldr(code).decimal_formats[None].pattern.partition(".")[0]  # India groups by twos
    return parse_pattern(whole + ("." + "0" * digits if digits else ""))


def written(value: Decimal, digits: int, numbers: Cldr, grouped: bool) -> str:
    """A number with so many digits behind the decimal sign, as it is written there."""
    text: str = _pattern(str(numbers), digits).apply(value, numbers, group_separator=grouped)
    return text.replace("\u202f", "\u00a0")  # the narrow space is missing from many fonts


def choose_words(rng: Random, document: Document, locale: Locale, family: Family) -> Wording:
    """Draw words and forms; a sign that the font lacks is written as the currency's code."""
    words = locale.language.words
    say = {key: pick(rng, pool) for key, pool in words.items()}
    if document.terms.net and (document.terms.net_shown or rng.random() < 0.5):
        say["subtotal"] = say["net"]
    if document.kind == "receipt":
        say["number"] = say["ticket"]
    terms = [text for text in words["terms"].split("|") if document.due_days is not None or "{}" not in text]
    say["terms"] = rng.choice(terms).format(document.due_days)
    codes = rng.choice(("", "ABCD", "1234")) if document.kind == "receipt" and document.terms.by_line else ""
    date_form = pick(rng, locale.dates)
    marks = _marks(document, locale, family)
    total_marks = rng.choice(marks) if document.currency_shown else "{}"
    return Wording(
        document=document,
        locale=locale,
        say=say,
        codes={rate: code for (_, rate), code in zip(document.terms.taxes, codes, strict=False)},
        asides=_asides(rng, document, locale, date_form) if document.kind == "invoice" else (),
        numbers=cldr(pick(rng, locale.numbers or locale.code)),
        grouped=rng.random() < 0.6 or not get_currency_precision(document.currency),
        marks=total_marks if rng.random() < 0.3 else "{}",
        total_marks=total_marks,
        date_form=date_form,
        net_table=rng.random() < 0.4,
    )


def _asides(rng: Random, document: Document, locale: Locale, date_form: str) -> tuple[LabelledRow, ...]:
    """Some of: a reference, the day of delivery."""
    words, rows = locale.language.words, []
    if rng.random() < 0.4:
        rows.append(LabelledRow(pick(rng, words["reference"]), fill(rng, pick(rng, "######|K-####|???-####|##/####"))))
    if rng.random() < 0.25:
        day = document.moment - timedelta(days=rng.randrange(12))
        rows.append(LabelledRow(pick(rng, words["delivery"]), format_date(day, date_form, locale.cldr)))
    return tuple(rows)


def _marks(document: Document, locale: Locale, family: Family) -> tuple[str, ...]:
    """The currency's sign where it usually stands, or its code; a sign needs an address to say whose it is."""
    code = document.currency
    codes = (f"{{}} {code}", f"{code} {{}}")
    sign = unicodedata.normalize("NFKC", get_currency_symbol(code, locale.cldr))
    if sign == code or not family.covers(sign) or (sign == "$" and not document.vendor.address):
        return codes
    if locale.cldr.currency_formats["standard"].pattern.startswith("¤"):
        return (f"{sign}{{}}", f"{sign}{{}}", f"{sign} {{}}", codes[0])
    return (f"{{}} {sign}", f"{{}} {sign}", f"{{}}{sign}", *codes)
