"""What was bought on a synthetic receipt: items, taxes and totals that add up to the last minor unit."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from receipt_trainer.data.synthetic.locales import LOCALES, Locale
from receipt_trainer.data.synthetic.text import product

_SIZES: Final = {"grocery": (2, 18), "restaurant": (1, 10), "pharmacy": (1, 6), "petrol": (1, 1), "hardware": (1, 8)}
_PRICES: Final = {
    "grocery": (60, 1500),
    "restaurant": (150, 3500),
    "pharmacy": (200, 4000),
    "petrol": (110, 260),
    "hardware": (50, 9000),
}
"""Items a receipt, and unit prices in hundredths of a dollar, by kind of shop."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line item. Amounts in minor units, quantity in thousandths, rate in basis points.

    `measure` is kg or L for what is weighed or measured, else "". `discount` is printed below the item, if not 0.
    """

    name: str
    quantity: int
    measure: str
    unit_price: int
    total: int
    rate: int
    discount: int = 0


@dataclass(frozen=True, slots=True)
class Tax:
    """One tax line: rate in basis points, the net amount it is on and the tax, in minor units."""

    name: str
    rate: int
    net: int
    amount: int


@dataclass(frozen=True, slots=True)
class Purchase:
    """A purchase; amounts in minor units.

    subtotal = sum of item totals - item discounts;
    total = subtotal - discount + service + taxes (unless they are included) + rounding.
    """

    kind: str
    locale: Locale
    items: tuple[Item, ...]
    subtotal: int
    discount: int
    service: int
    taxes: tuple[Tax, ...]
    tax_included: bool
    rounding: int
    total: int
    paid: int

    @property
    def item_discount(self) -> int:
        """Sum of the discounts printed below items."""
        return sum(item.discount for item in self.items)

    @property
    def tax(self) -> int:
        """Sum of all taxes."""
        return sum(tax.amount for tax in self.taxes)


def share(amount: int, numerator: int, denominator: int) -> int:
    """amount * numerator / denominator, halves rounded up, in whole numbers only: the same on every machine."""
    return (2 * amount * numerator + denominator) // (2 * denominator)


def draw_purchase(rng: Random, kind: str) -> Purchase:
    """A purchase at a shop of this kind somewhere."""
    locale = rng.choice(LOCALES)
    included = locale.tax_included and (not locale.tax_added or rng.random() < 0.5)
    name, rates = rng.choice(locale.taxes)
    taxed = rng.random() < 0.8
    several = taxed and included and len(rates) > 1 and rng.random() < 0.5
    used = rates if several else (rng.choice(rates),)
    items = tuple(_item(rng, kind, locale, used) for _ in range(_num_items(rng, kind)))
    subtotal = sum(item.total - item.discount for item in items)
    discount = share(subtotal, rng.choice((5, 10, 15)), 100) if not several and rng.random() < 0.12 else 0
    service = (
        share(subtotal - discount, 10, 100) if kind == "restaurant" and not included and rng.random() < 0.25 else 0
    )
    base = subtotal - discount + service
    taxes: tuple[Tax, ...] = ()
    if taxed:
        taxes = _included(items, name) if several else _taxes(rng, locale, name, used[0], base, included)
    due = base + (0 if included else sum(tax.amount for tax in taxes))
    total = share(due, 1, locale.step) * locale.step if locale.step > 1 else due
    return Purchase(
        kind, locale, items, subtotal, discount, service, taxes, included, total - due, total, _paid(rng, locale, total)
    )


def _num_items(rng: Random, kind: str) -> int:
    low, high = _SIZES[kind]
    return min(rng.randint(low, high), rng.randint(low, high))


def _item(rng: Random, kind: str, locale: Locale, rates: tuple[int, ...]) -> Item:
    low, high = _PRICES[kind]
    hundredths = min(rng.randint(low, high), rng.randint(low, high))
    price = max(1, share(hundredths, locale.scale, 100 * locale.step)) * locale.step
    if locale.decimals == 2 and rng.random() < 0.4:
        price = max(locale.step, price // 10 * 10 - (0 if locale.step > 1 else 1))
    quantity, measure = rng.choice((1, 1, 1, 1, 1, 2, 2, 3, 4, 6, 10)) * 1000, ""
    if kind == "petrol":
        quantity, measure = rng.randint(4_000, 68_000), "L"
    elif kind == "grocery" and rng.random() < 0.15:
        quantity, measure = rng.randint(80, 2_500), "kg"
    total = max(1, share(price, quantity, 1000))
    discount = (
        share(total, rng.choice((10, 20, 50)), 100) if kind in ("grocery", "pharmacy") and rng.random() < 0.06 else 0
    )
    return Item(product(rng, kind), quantity, measure, price, total, rng.choice(rates), min(discount, total - 1))


def _taxes(rng: Random, locale: Locale, name: str, rate: int, base: int, included: bool) -> tuple[Tax, ...]:
    """One rate on everything; where taxes are added together, sometimes a second tax beside the first."""
    if included:
        amount = share(base, rate, 10_000 + rate)
        return (Tax(name, rate, base - amount, amount),)
    first = Tax(name, rate, base, share(base, rate, 10_000))
    if locale.added_together > 1 and name in ("GST", "PST"):
        other, rates = locale.taxes[1 if name == "GST" else 0]
        second_rate = rng.choice(rates)
        return (first, Tax(other, second_rate, base, share(base, second_rate, 10_000)))
    return (first,)


def _included(items: tuple[Item, ...], name: str) -> tuple[Tax, ...]:
    """One tax line for each rate that occurs, each contained in its items."""
    taxes = []
    for rate in sorted({item.rate for item in items}):
        gross = sum(item.total - item.discount for item in items if item.rate == rate)
        amount = share(gross, rate, 10_000 + rate)
        taxes.append(Tax(name, rate, gross - amount, amount))
    return tuple(taxes)


def _paid(rng: Random, locale: Locale, total: int) -> int:
    """Cash handed over: the total, or the next multiple of some bank note (thousands where there is no minor unit)."""
    note = rng.choice((5, 10, 20, 50, 100)) * (10**locale.decimals if locale.decimals else 1000)
    return total if rng.random() < 0.25 else -(-total // note) * note
