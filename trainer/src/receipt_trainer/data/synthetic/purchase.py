"""The content of a document: parties, lines, taxes and totals, exact in decimals, and the truth about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Any, Final, Literal

from babel.numbers import get_currency_precision

from receipt_trainer.data.amount_checks import CASH_STEPS, arithmetic_problems
from receipt_trainer.data.document import canonical_json, check, number
from receipt_trainer.data.synthetic.corpus import OwnVendor
from receipt_trainer.data.synthetic.locales import Locale, Shop, address, currencies, fake, fill, firm, pick, product

Detail = Literal["all", "several", "quantity", "none"]
"""The texts beside a line's total: quantity and price; both where the quantity is not one; the quantity; nothing."""

_EPOCH: Final = datetime(2012, 1, 1)
_SIZES: Final = {"grocery": (1, 22), "restaurant": (1, 10), "pharmacy": (1, 6), "petrol": (1, 1), "hardware": (1, 8)}
_PRICES: Final = {
    "grocery": (60, 1500),
    "restaurant": (150, 3500),
    "pharmacy": (200, 4000),
    "petrol": (110, 260),
    "hardware": (50, 9000),
}
"""Lines of a receipt, and unit prices in hundredths of a dollar, by kind of shop."""


@dataclass(frozen=True, slots=True)
class Habit:
    """Properties of a template's documents.

    Attributes:
        shops: kinds of shop, of which the country's language must have one.
        lines: fewest and most lines, where they do not depend on the shop.
        details: what may stand beside the totals of lines.
        client: share with a client.
    """

    kind: Literal["invoice", "receipt"]
    shops: tuple[str, ...]
    lines: tuple[int, int] | None = None
    details: tuple[Detail, ...] = ("all",)
    client: float = 0.0


@dataclass(frozen=True, slots=True)
class Party:
    """A vendor or a client; what is None is not drawn. The truth joins address lines by ", ".

    `tax_id_name` is what its country calls such a number.
    """

    name: str
    address: tuple[str, ...] = ()
    tax_id: str | None = None
    phone: str | None = None
    tax_id_name: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A line; what is None is not drawn. A discount on a line is a line of its own, its total negative.

    `measure` is kg or L for what is weighed or measured, else ""; `rate` the percent of its tax.
    """

    description: str
    quantity: Decimal | None
    unit_price: Decimal | None
    total: Decimal
    measure: str = ""
    rate: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Terms:
    """How the totals follow from the lines.

    Attributes:
        taxes: names and percents. Several of one name are each on the lines of their rate.
        inside: whether the prices include the tax.
        net_shown: of prices that include one tax, whether the subtotal is without it.
        discount: percent off the sum of the lines; service: percent on what is left.
        subtotal_shown, tax_shown, rate_shown: what of the totals is drawn.
        to_coins: whether the total is rounded to the smallest coin.
        reverse: whether the recipient owes the tax (rate 0, with a note).
    """

    taxes: tuple[tuple[str, Decimal], ...] = ()
    inside: bool = False
    net_shown: bool = False
    discount: Decimal = Decimal(0)
    service: Decimal = Decimal(0)
    subtotal_shown: bool = True
    tax_shown: bool = True
    rate_shown: bool = True
    to_coins: bool = False
    reverse: bool = False

    @property
    def by_line(self) -> bool:
        """Whether lines have different rates of one tax."""
        return len(self.taxes) > 1 and len({name for name, _ in self.taxes}) == 1

    @property
    def net(self) -> bool:
        """Whether the subtotal is what the taxes are on: without them, and nothing taken off behind it."""
        return bool(self.taxes) and (self.net_shown or not self.inside) and not self.discount and not self.service


@dataclass(frozen=True, slots=True)
class Tax:
    """One tax: percent, the net amount it is on, the tax."""

    name: str
    rate: Decimal
    net: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Totals:
    """The amounts under the lines: subtotal - discount + service + taxes (unless inside) + rounding = grand total."""

    subtotal: Decimal
    discount: Decimal
    service: Decimal
    taxes: tuple[Tax, ...]
    rounding: Decimal
    grand_total: Decimal

    @property
    def tax(self) -> Decimal:
        """Sum of all taxes."""
        return sum((tax.amount for tax in self.taxes), Decimal(0))


@dataclass(frozen=True, slots=True)
class Document:
    """All that a template draws. `shop` is the kind of vendor; `currency_shown` whether its sign is drawn."""

    kind: Literal["invoice", "receipt"]
    shop: str
    vendor: Party
    client: Party | None
    number: str | None
    moment: datetime
    day_shown: bool
    due_days: int | None
    currency: str
    currency_shown: bool
    items: tuple[Item, ...]
    terms: Terms
    capitals: bool = False

    @property
    def totals(self) -> Totals:
        """Computed from the lines and the terms."""
        return add_up(self.items, self.terms, self.currency)

    def shortened(self, count: int) -> Document:
        """The same document with only its first `count` lines, its totals with it."""
        return replace(self, items=self.items[:count])

    def truth(self) -> dict[str, Any]:
        """The content of the page, in the form of `data.document`.

        Raises:
            RuntimeError: it is against the schema or does not add up, which would be a fault of this room.
        """
        totals, terms = self.totals, self.terms
        taxed = bool(terms.taxes) and terms.tax_shown
        one_rate = totals.taxes[0].rate if taxed and terms.rate_shown and len(totals.taxes) == 1 else None
        found = {
            "document_type": self.kind,
            "vendor": self._party(self.vendor) | {"phone": self.vendor.phone},
            "client": None if self.client is None else self._party(self.client),
            "invoice_number": self.number,
            "date": self.moment.date().isoformat() if self.day_shown else None,
            "due_date": None if self.due_days is None else self.due.date().isoformat(),
            "currency": self.currency if self.currency_shown else None,
            "line_items": [
                {
                    "description": self._text(item.description),
                    "quantity": number(item.quantity),
                    "unit_price": number(item.unit_price),
                    "total": number(item.total),
                }
                for item in self.items
            ],
            "subtotal": number(totals.subtotal) if terms.subtotal_shown else None,
            "tax": number(totals.tax) if taxed else None,
            "tax_rate": number(one_rate),
            "discount": number(totals.discount or None),
            "grand_total": number(totals.grand_total),
        }
        problems = [*check(found), *arithmetic_problems(found)]
        if problems:
            raise RuntimeError(f"{problems} in {canonical_json(found)}")
        return found

    @property
    def due(self) -> datetime:
        """When it is to be paid."""
        return self.moment + timedelta(days=self.due_days or 0)

    def _text(self, text: str) -> str:
        return text.upper() if self.capitals else text

    def _party(self, party: Party) -> dict[str, Any]:
        address = self._text(", ".join(party.address)) or None
        return {"name": self._text(party.name), "address": address, "tax_id": party.tax_id}


def rounded(amount: Decimal, currency: str) -> Decimal:
    """To the currency's minor unit, halves away from zero."""
    return amount.quantize(Decimal(1).scaleb(-get_currency_precision(currency)), ROUND_HALF_UP)


def to_step(amount: Decimal, step: Decimal) -> Decimal:
    """To the nearest multiple of `step`."""
    return (amount / step).quantize(Decimal(1), ROUND_HALF_UP) * step


def add_up(items: tuple[Item, ...], terms: Terms, currency: str) -> Totals:
    """The totals that follow from the lines."""
    whole = sum((item.total for item in items), Decimal(0))
    discount = rounded(whole * terms.discount / 100, currency)
    service = rounded((whole - discount) * terms.service / 100, currency)
    base = whole - discount + service
    taxes = _taxes(items, terms, base, currency)
    added = Decimal(0) if terms.inside else sum((tax.amount for tax in taxes), Decimal(0))
    paid = to_step(base + added, CASH_STEPS[currency]) if terms.to_coins else base + added
    net = terms.net_shown and len(taxes) == 1 and not discount and not service
    subtotal = whole - taxes[0].amount if net else whole
    return Totals(subtotal, discount, service, taxes, paid - base - added, paid)


def _taxes(items: tuple[Item, ...], terms: Terms, base: Decimal, currency: str) -> tuple[Tax, ...]:
    """A tax for each rate; where lines have their own, one for each that occurs."""
    found = []
    for name, rate in terms.taxes:
        on = base
        if terms.by_line:
            on = sum((item.total for item in items if item.rate == rate), Decimal(0))
            if not on:
                continue
        amount = rounded(on * rate / (100 + rate if terms.inside else 100), currency)
        found.append(Tax(name, rate, on - amount if terms.inside else on, amount))
    return tuple(found)


def draw_document(
    rng: Random, locale: Locale, habit: Habit, *, truthful: bool = True, vendors: Sequence[OwnVendor] = ()
) -> Document:
    """A document of that habit in that country.

    Args:
        rng: the only source of chance.
        truthful: whether `Document.truth` must be able to say it all, which has no words for a service charge and
            needs the currency where amounts have no two decimals.
        vendors: the user's own, who write half of the documents of their countries.
    """
    invoice = habit.kind == "invoice"
    mine = [vendor for vendor in vendors if vendor.country == locale.code]
    own = rng.choice(mine) if mine and rng.random() < 0.5 else None
    kinds = [kind for kind in habit.shops if kind in locale.language.shops] or ["grocery"]
    if invoice and rng.random() < 0.3:
        kinds = [name for name in locale.language.shops if name in ("grocery", "hardware", "pharmacy")]
    kind = rng.choice(kinds) if own is None else "services" if invoice else "grocery"
    shop = locale.language.shops[kind]
    pool = locale.currencies if invoice and own is None else locale.currencies[:1]
    currency = rng.choices(*zip(*pool, strict=True))[0]
    terms = _terms(rng, locale, currency, invoice, kind == "restaurant" and not truthful)
    needed = invoice or (truthful and (terms.to_coins or get_currency_precision(currency) != 2))
    lines = (12, 30) if truthful and kind == "grocery" and not invoice and rng.random() < 0.5 else habit.lines
    moment = _EPOCH + timedelta(days=rng.randrange(14 * 365), seconds=rng.randrange(6 * 3600, 23 * 3600))
    return Document(
        kind=habit.kind,
        shop=kind,
        vendor=_vendor(rng, locale, shop, invoice) if own is None else _own(rng, locale, own),
        client=_client(rng, locale) if rng.random() < habit.client else None,
        number=_number(rng, moment, invoice) if rng.random() < (0.97 if invoice else 0.75) else None,
        moment=moment,
        day_shown=rng.random() < 0.96,
        due_days=rng.choice((7, 10, 14, 30, 45, 60)) if invoice and rng.random() < 0.65 else None,
        currency=currency,
        currency_shown=needed or rng.random() < 0.55,
        items=_items(rng, locale, currency, kind, replace(habit, lines=lines), terms, own),
        terms=terms,
        capitals=not invoice and locale.latin and locale.language.code != "tr" and rng.random() < 0.45,
    )


def _terms(rng: Random, locale: Locale, currency: str, invoice: bool, serves: bool) -> Terms:
    discount = Decimal(rng.choice((2, 3, 5, 10, 15, 20))) if rng.random() < (0.25 if invoice else 0.12) else Decimal(0)
    coins = not invoice and currency in CASH_STEPS
    kind = rng.random()
    if invoice and kind < 0.08:
        name = pick(rng, locale.taxes[0][0])
        return Terms(((name, Decimal(0)),), discount=discount, reverse=True)
    if kind < (0.15 if invoice else 0.2):
        shown = bool(discount) or rng.random() < 0.45
        return Terms(discount=discount, subtotal_shown=shown, to_coins=coins)
    inside = rng.random() < (min(0.15, locale.inside) if invoice else locale.inside)
    taxes = _rates(rng, locale, locale.inside > 0 and not discount and not serves)
    service = Decimal(10) if serves and not inside and rng.random() < 0.25 else Decimal(0)
    net = inside and not discount and len(taxes) == 1 and rng.random() < (0.5 if invoice else 0.2)
    must = bool(discount or service) or not inside
    shown = net or rng.random() < (1.0 if must and invoice else 0.95 if must else 0.45)
    return Terms(
        taxes=taxes,
        inside=inside,
        net_shown=net,
        discount=discount,
        service=service,
        subtotal_shown=shown,
        tax_shown=invoice or net or not inside or rng.random() < 0.85,
        rate_shown=invoice or rng.random() < 0.75,
        to_coins=coins,
    )


def _rates(rng: Random, locale: Locale, by_item: bool) -> tuple[tuple[str, Decimal], ...]:
    """One tax, or two that are added together, or all rates of one where each line may have its own."""
    place = rng.randrange(len(locale.taxes))
    name, rates = pick(rng, locale.taxes[place][0]), locale.taxes[place][1]
    if by_item and "|" in rates and rng.random() < 0.4:
        return tuple((name, Decimal(rate)) for rate in rates.split("|"))
    first = (name, Decimal(pick(rng, rates)))
    if locale.together and place < 2 and rng.random() < 0.7:
        other, more = locale.taxes[1 - place]
        return first, (other, Decimal(pick(rng, more)))
    return (first,)


def _vendor(rng: Random, locale: Locale, shop: Shop, invoice: bool) -> Party:
    names, patterns = rng.choice(locale.tax_ids)
    return Party(
        name=firm(rng, locale, shop),
        address=address(rng, locale) if rng.random() < 0.92 else (),
        tax_id=fill(rng, pick(rng, patterns)) if rng.random() < (0.8 if invoice else 0.25) else None,
        phone=fake(rng, locale, locale.phones) if rng.random() < (0.6 if invoice else 0.8) else None,
        tax_id_name=pick(rng, names),
    )


def _own(rng: Random, locale: Locale, own: OwnVendor) -> Party:
    name = pick(rng, rng.choice(locale.tax_ids)[0])
    return Party(own.name, own.address, own.tax_id, own.phone, name)


def _client(rng: Random, locale: Locale) -> Party:
    """A firm, or now and then a person."""
    party = _vendor(rng, locale, locale.language.shops["services"], True)
    if rng.random() < 0.2:
        return Party(fake(rng, locale, "{{name}}"), party.address)
    return replace(party, phone=None, tax_id=party.tax_id if rng.random() < 0.5 else None)


def _number(rng: Random, day: datetime, invoice: bool) -> str:
    if not invoice:  # those of a till have no year in them
        return fill(rng, pick(rng, "######|?#-####|########|???######|##-###|INV-######|A-####"))
    serial = rng.randint(1, 99_999)
    return rng.choice(
        (f"{serial:05d}", f"{day.year}-{serial:05d}", f"INV-{serial:06d}", f"R{day:%y%m}/{serial}", f"A-{serial}")
    )


def _items(
    rng: Random, locale: Locale, currency: str, kind: str, habit: Habit, terms: Terms, own: OwnVendor | None
) -> tuple[Item, ...]:
    """Nouns repeat only in tables that are longer than their pool."""
    low, high = habit.lines or _SIZES[kind]
    count = rng.randint(low, high) if habit.lines else min(rng.randint(low, high), rng.randint(low, high))
    shop = locale.language.shops[kind]
    prices = {} if own is None else {one.name: one.price for one in own.products}
    pool = list(prices) or shop.nouns.split("|")
    nouns: list[str] = []
    while len(nouns) < count:
        nouns += rng.sample(pool, len(pool))
    detail = rng.choice(habit.details)
    items: list[Item] = []
    for noun in nouns[:count]:
        weighed = own is None and noun.endswith("*") and rng.random() < 0.5
        name = noun if own else noun.rstrip("*")
        name = name if own or kind == "services" else product(rng, locale, shop, name, sized=not weighed)
        rate = rng.choice(terms.taxes)[1] if terms.taxes else Decimal(0)
        item = _item(rng, currency, name, kind, rate, prices.get(noun), weighed=weighed)
        items.append(_shown(item, detail))
        if kind in ("grocery", "pharmacy", "services") and item.total > 0 and rng.random() < 0.05:
            items.append(_saving(rng, locale, currency, item))
    return tuple(items)


def _item(
    rng: Random, currency: str, name: str, kind: str, rate: Decimal, known: Decimal | None, *, weighed: bool
) -> Item:
    serves = kind == "services"
    dollars = rng.lognormvariate(4.2, 1.0) if serves else min(rng.randint(*_PRICES[kind]) for _ in range(2)) / 100
    worth = currencies()[currency]
    price = max(worth.step, to_step(Decimal(f"{dollars:.2f}") * worth.scale, worth.step))
    if worth.step == Decimal("0.01") and price > 1 and rng.random() < 0.4:  # 4.37 becomes 4.29
        price = to_step(price, Decimal("0.1")) - worth.step
    if known is not None:
        price = max(worth.step, rounded(known, currency))
    draw, measure = rng.random(), ""
    if kind == "petrol":
        quantity, measure = Decimal(rng.randint(4_000, 68_000)).scaleb(-3), "L"
    elif weighed:
        quantity, measure = Decimal(rng.randint(80, 2_500)).scaleb(-3), "kg"
    elif serves and draw < 0.15:
        quantity = Decimal(rng.randrange(5, 80, 5)).scaleb(-1)  # hours
    elif serves and draw > 0.9:
        quantity = Decimal(rng.randint(13, 120))
    else:
        quantity = Decimal(rng.choice((1, 1, 1, 1, 1, 2, 2, 3, 4, 6, 10)))
    return Item(name, quantity, price, rounded(quantity * price, currency), measure, rate)


def _shown(item: Item, detail: Detail) -> Item:
    """The line with what is drawn of it."""
    if detail == "all" or (item.measure and detail != "none"):
        return item
    plain = detail == "none" or (detail == "several" and item.quantity == 1)
    quantity = None if plain else item.quantity
    return replace(item, quantity=quantity, unit_price=None if plain or detail == "quantity" else item.unit_price)


def _saving(rng: Random, locale: Locale, currency: str, item: Item) -> Item:
    """A discount on the line before it, with or without its percent."""
    percent = rng.choice((5, 10, 20, 25))
    name = pick(rng, locale.language.words["discount"]) + (f" {percent} %" if rng.random() < 0.6 else "")
    return Item(name, None, None, -rounded(item.total * percent / 100, currency), rate=item.rate)
