"""What a drawn document says: parties, lines and totals, exact in decimals, and the truth about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from receipt_trainer.data.amount_checks import arithmetic_problems
from receipt_trainer.data.document import canonical_json, check
from receipt_trainer.models.paddleocr_vl.synthetic.money import rounded, to_coins


@dataclass(frozen=True, slots=True)
class Party:
    """A vendor or a client; what is None is not drawn. The truth joins address lines by ", "."""

    name: str
    address: tuple[str, ...] = ()
    tax_id: str | None = None
    phone: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the table; a discount on a line is an item of its own with a negative total."""

    description: str
    quantity: Decimal | None
    unit_price: Decimal | None
    total: Decimal


@dataclass(frozen=True, slots=True)
class Terms:
    """How the totals follow from the lines.

    Attributes:
        rate: percent of tax, or None where the document speaks of none.
        inside: whether the prices include the tax.
        net_shown: of prices that include the tax, whether the subtotal is without it.
        discount: percent off the sum of the lines; 0 for none.
        subtotal_shown: whether a subtotal is drawn where nothing stands between it and the total.
        to_coins: whether the total is rounded to the smallest coin.
        reverse: whether the recipient owes the tax (rate 0, with a note).
    """

    rate: Decimal | None = None
    inside: bool = False
    net_shown: bool = False
    discount: Decimal = Decimal(0)
    subtotal_shown: bool = True
    to_coins: bool = False
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """The amounts under the table; what is None is not drawn."""

    subtotal: Decimal | None
    discount: Decimal | None
    tax: Decimal | None
    rounding: Decimal | None
    grand_total: Decimal


@dataclass(frozen=True, slots=True)
class Document:
    """All that a template draws. `kind` is "invoice" or "receipt"; `currency_shown` whether its sign is drawn."""

    kind: str
    vendor: Party
    client: Party | None
    number: str | None
    day: date | None
    due: date | None
    currency: str
    currency_shown: bool
    items: tuple[Item, ...]
    terms: Terms

    @property
    def totals(self) -> Totals:
        """Computed from the lines and the terms."""
        return _totals(self.items, self.terms, self.currency)

    def shortened(self, count: int) -> Document:
        """The same document with only its first `count` lines, its totals with it."""
        return replace(self, items=self.items[:count])

    def truth(self) -> dict[str, Any]:
        """What stands on the page, in the form of `vl.schema`.

        Raises:
            RuntimeError: it is against the schema or does not add up, which would be a fault of this room.
        """
        totals = self.totals
        found = {
            "document_type": self.kind,
            "vendor": _party(self.vendor) | {"phone": self.vendor.phone},
            "client": None if self.client is None else _party(self.client),
            "invoice_number": self.number,
            "date": self.day.isoformat() if self.day else None,
            "due_date": self.due.isoformat() if self.due else None,
            "currency": self.currency if self.currency_shown else None,
            "line_items": [
                {
                    "description": item.description,
                    "quantity": number(item.quantity),
                    "unit_price": number(item.unit_price),
                    "total": number(item.total),
                }
                for item in self.items
            ],
            "subtotal": number(totals.subtotal),
            "tax": number(totals.tax),
            "tax_rate": number(self.terms.rate),
            "discount": number(totals.discount),
            "grand_total": number(totals.grand_total),
        }
        problems = [*check(found), *arithmetic_problems(found)]
        if problems:
            raise RuntimeError(f"{problems} in {canonical_json(found)}")
        return found


def number(amount: Decimal | None) -> int | float | None:
    """A decimal as the JSON number that has the same digits."""
    if amount is None:
        return None
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def _party(party: Party) -> dict[str, Any]:
    return {"name": party.name, "address": ", ".join(party.address) or None, "tax_id": party.tax_id}


def _totals(items: tuple[Item, ...], terms: Terms, currency: str) -> Totals:
    whole = sum((item.total for item in items), Decimal(0))
    discount = rounded(whole * terms.discount / 100, currency)
    base = whole - discount
    rate = terms.rate
    if rate is None:
        tax, total = None, base
    elif terms.inside:
        tax, total = rounded(base * rate / (100 + rate), currency), base
    else:
        tax = rounded(base * rate / 100, currency)
        total = base + tax
    net = whole - tax if terms.inside and terms.net_shown and tax is not None and not discount else whole
    paid = to_coins(total, currency) if terms.to_coins else total
    needed = discount or (tax is not None and not terms.inside) or terms.subtotal_shown
    return Totals(
        subtotal=net if needed else None,
        discount=discount or None,
        tax=tax,
        rounding=paid - total or None,
        grand_total=paid,
    )
