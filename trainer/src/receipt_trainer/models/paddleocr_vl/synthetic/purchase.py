"""Draws what a document says from a language's pools; every draw comes from the generator that is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from receipt_trainer.data.amount_checks import CASH_STEPS, minor_digits
from receipt_trainer.models.paddleocr_vl.synthetic.document import Document, Item, Party, Terms
from receipt_trainer.models.paddleocr_vl.synthetic.language import Language, fill, pick
from receipt_trainer.models.paddleocr_vl.synthetic.money import SCALES, quantity_text, rounded

_FIRST_DAY: Final = date(2015, 1, 1)
_DAYS: Final = 4000


@dataclass(frozen=True, slots=True)
class Habit:
    """What a template's documents are like.

    Attributes:
        kind: "invoice" or "receipt".
        lines: fewest and most lines.
        columns: share of documents whose lines have quantity and unit price.
        client: share with a client.
    """

    kind: str
    lines: tuple[int, int]
    columns: float = 1.0
    client: float = 0.0


def draw_document(rng: Random, language: Language, habit: Habit) -> Document:
    """A document of that habit in that language."""
    invoice = habit.kind == "invoice"
    currency = rng.choices(*zip(*language.currencies, strict=True))[0]
    terms = _terms(rng, language, currency, invoice)
    day = _FIRST_DAY + timedelta(days=rng.randrange(_DAYS))
    shown_day = day if rng.random() < 0.95 else None
    number_shown = rng.random() < (0.97 if invoice else 0.6)
    return Document(
        kind=habit.kind,
        vendor=_vendor(rng, language, invoice),
        client=_client(rng, language) if rng.random() < habit.client else None,
        number=_number(rng, day) if number_shown else None,
        day=shown_day,
        due=day + timedelta(days=rng.choice((7, 10, 14, 30, 45, 60))) if invoice and rng.random() < 0.65 else None,
        currency=currency,
        # Without its currency a total in whole yen, or rounded to coins, cannot be checked.
        currency_shown=invoice or terms.to_coins or minor_digits(currency) != 2 or rng.random() < 0.9,
        items=_items(rng, language, currency, habit),
        terms=terms,
    )


def _terms(rng: Random, language: Language, currency: str, invoice: bool) -> Terms:
    discount = Decimal(rng.choice((2, 3, 5, 10, 15, 20))) if rng.random() < 0.25 else Decimal(0)
    coins = currency in CASH_STEPS and not invoice
    shown = rng.random() < 0.6
    draw = rng.random()
    if invoice and draw < 0.08:
        return Terms(Decimal(0), discount=discount, reverse=True)
    if draw < (0.15 if invoice else 0.3):
        return Terms(None, discount=discount, subtotal_shown=shown, to_coins=coins)
    rate = Decimal(rng.choice(language.rates))
    if draw > 0.55 and (not invoice or not language.on_top or draw > 0.85):
        net = rng.random() < 0.5
        return Terms(rate, True, net, discount, shown or net, coins)
    return Terms(rate, discount=discount, to_coins=coins)


def _vendor(rng: Random, language: Language, invoice: bool) -> Party:
    name = pick(rng, language.firms)
    while "{name}" in name:
        name = name.replace("{name}", pick(rng, language.people), 1)
    return Party(
        name=name,
        address=_address(rng, language) if rng.random() < 0.9 else (),
        tax_id=fill(rng, pick(rng, language.tax_ids)) if rng.random() < (0.8 if invoice else 0.4) else None,
        phone=fill(rng, pick(rng, language.phones)) if rng.random() < 0.6 else None,
    )


def _client(rng: Random, language: Language) -> Party:
    party = _vendor(rng, language, True)
    tax_id = party.tax_id if rng.random() < 0.5 else None
    return Party(party.name, party.address, tax_id)


def _address(rng: Random, language: Language) -> tuple[str, ...]:
    street = pick(rng, language.streets).replace("{n}", str(rng.randint(1, 199)))
    return street.replace("{name}", pick(rng, language.people)), fill(rng, pick(rng, language.cities))


def _number(rng: Random, day: date) -> str:
    serial = rng.randint(1, 99_999)
    forms = (f"{serial:05d}", f"{day.year}-{serial:05d}", f"INV-{serial:06d}", f"R{day:%y%m}/{serial}", f"A-{serial}")
    return rng.choice(forms)


def _items(rng: Random, language: Language, currency: str, habit: Habit) -> tuple[Item, ...]:
    """Descriptions repeat only in tables that are longer than the pool."""
    low, high = habit.lines
    count = rng.randint(low, high)
    pool = (language.services if habit.kind == "invoice" and rng.random() < 0.7 else language.products).split("|")
    names: list[str] = []
    while len(names) < count:
        names += rng.sample(pool, len(pool))
    columns = rng.random() < habit.columns
    items: list[Item] = []
    for name in names[:count]:
        item = _item(rng, currency, name, habit.kind == "invoice")
        items.append(item if columns else Item(item.description, None, None, item.total))
        if rng.random() < 0.05:
            items.append(_off(rng, language, currency, item))
    return tuple(items)


def _item(rng: Random, currency: str, name: str, invoice: bool) -> Item:
    dollars = rng.lognormvariate(4.2, 1.0) if invoice else rng.lognormvariate(1.5, 0.8)
    scale = Decimal(SCALES.get(currency, 1))
    price = max(rounded(Decimal(f"{dollars:.2f}") * scale, currency), rounded(scale, currency))
    draw = rng.random()
    if draw < 0.15:
        hours, grams = rng.randrange(5, 80, 5), rng.randrange(120, 2400)
        quantity = Decimal(hours).scaleb(-1) if invoice else Decimal(grams).scaleb(-3)
    else:
        quantity = Decimal(rng.choice((1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 12)) if draw < 0.9 else rng.randint(13, 120))
    return Item(name, quantity, price, rounded(quantity * price, currency))


def _off(rng: Random, language: Language, currency: str, item: Item) -> Item:
    percent = Decimal(rng.choice((5, 10, 20, 25)))
    word = language.word(rng, "discount")
    return Item(
        f"{word} {quantity_text(percent, language)} %", None, None, -rounded(item.total * percent / 100, currency)
    )
