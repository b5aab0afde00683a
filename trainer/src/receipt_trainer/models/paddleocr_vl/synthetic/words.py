"""The texts of one document as a template needs them: labels chosen once, amounts written one way."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random

from receipt_trainer.models.paddleocr_vl.synthetic.document import Document, Item, Party
from receipt_trainer.models.paddleocr_vl.synthetic.fonts import Family
from receipt_trainer.models.paddleocr_vl.synthetic.language import KEYS, Language, pick
from receipt_trainer.models.paddleocr_vl.synthetic.money import SYMBOLS, Money, date_text, quantity_text


@dataclass(frozen=True, slots=True)
class Row:
    """A label and its value; `label` names the value's words for a token classifier ("" for none)."""

    name: str
    value: str
    label: str = ""
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Wording:
    """One document in words. `sign_everywhere`: whether lines have the currency's sign or only the total."""

    document: Document
    language: Language
    label: dict[str, str]
    money: Money
    date_form: str
    sign_everywhere: bool

    def amount(self, value: Decimal) -> str:
        """An amount of a line or of a total that is not the last."""
        return self.money.signed(value) if self.sign_everywhere else self.money.plain(value)

    def heading(self) -> str:
        """What the document calls itself."""
        return self.label[self.document.kind]

    def facts(self) -> list[Row]:
        """Number and dates."""
        document = self.document
        rows = []
        if document.number:
            rows.append(Row(self.label["number"], document.number))
        if document.day:
            rows.append(Row(self.label["date"], date_text(document.day, self.date_form, self.language), "DATE"))
        if document.due:
            rows.append(Row(self.label["due"], date_text(document.due, self.date_form, self.language)))
        return rows

    def contacts(self, party: Party) -> list[Row]:
        """Phone and tax number."""
        rows = []
        if party.phone:
            rows.append(Row(self.label["phone"], party.phone, "PHONE_NUMBER"))
        if party.tax_id:
            rows.append(Row(self.label["tax_id"], party.tax_id))
        return rows

    def cells(self, item: Item) -> dict[str, str]:
        """A line of the table; what it has not is ""."""
        return {
            "item": item.description,
            "quantity": "" if item.quantity is None else quantity_text(item.quantity, self.language),
            "price": "" if item.unit_price is None else self.amount(item.unit_price),
            "amount": self.amount(item.total),
        }

    def totals(self) -> list[Row]:
        """From the subtotal to the grand total; a tax that the prices include follows it."""
        document, totals, terms = self.document, self.document.totals, self.document.terms
        rows = []
        if totals.subtotal is not None:
            rows.append(Row(self.label["subtotal"], self.amount(totals.subtotal), "SUBTOTAL"))
        if totals.discount is not None:
            rows.append(Row(self.label["discount"], self.amount(-totals.discount), "DISCOUNT"))
        tax = None
        if totals.tax is not None and terms.rate is not None:
            after = terms.inside and not (terms.net_shown and totals.discount is None)
            name = self.label["included" if after else "tax"]
            tax = Row(f"{name} {quantity_text(terms.rate, self.language)}%", self.amount(totals.tax), "TAX")
            if not after:
                rows.append(tax)
                tax = None
        if totals.rounding is not None:
            rows.append(Row(self.label["rounding"], self.amount(totals.rounding)))
        total = self.money.signed(totals.grand_total) if document.currency_shown else self.amount(totals.grand_total)
        rows.append(Row(self.label["total"], total, "GRAND_TOTAL", bold=True))
        return [*rows, tax] if tax else rows


def choose_words(rng: Random, document: Document, language: Language, family: Family) -> Wording:
    """Draw labels and forms; a sign that the font lacks is written as the currency's code."""
    symbol = SYMBOLS.get(document.currency, document.currency)
    sign = symbol if rng.random() < 0.7 and family.covers(symbol) else document.currency
    money = Money(
        currency=document.currency,
        sign=sign if document.currency_shown else "",
        point=language.point,
        thousands=pick(rng, language.thousands),
        first=language.symbol_first or (sign.isascii() and sign.isalpha() and rng.random() < 0.3),
        space=language.space,
    )
    label = {key: language.word(rng, key) for key in KEYS}
    return Wording(document, language, label, money, pick(rng, language.dates), rng.random() < 0.3)
