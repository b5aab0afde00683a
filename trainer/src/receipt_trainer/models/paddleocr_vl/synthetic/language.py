"""How a language's documents are written: its words, names, numbers and dates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

KEYS: Final = (
    *("invoice", "receipt", "number", "date", "due", "to", "phone", "tax_id"),
    *("item", "quantity", "price", "amount", "subtotal", "discount", "tax", "included", "total", "rounding"),
    *("reverse", "thanks", "terms"),
)
"""What a language has a word for."""


@dataclass(frozen=True, slots=True)
class Language:
    """One language; texts are alternatives with `|` between them.

    Attributes:
        code: ISO 639-1.
        point, thousands: decimal sign and separators of thousands, maybe none.
        dates: strftime forms, %B being a name of `months`, %-d and %-m without a leading zero.
        currencies: (ISO 4217, weight): what its documents are in.
        rates: percent of its taxes; `on_top` says whether they may come on top of the prices.
        words: for each of `KEYS`.
        sample: letters that a font must have besides ASCII.
        symbol_first: whether the currency stands before the amount.
        phones, cities, streets, firms, forms, people: pools; `#` is a digit, `?` a capital letter, {n} a number,
            {name} one of `people`.
    """

    code: str
    point: str
    thousands: str
    dates: str
    currencies: tuple[tuple[str, int], ...]
    rates: tuple[str, ...]
    on_top: bool
    words: Mapping[str, str]
    months: str
    products: str
    services: str
    people: str
    firms: str
    cities: str
    streets: str
    phones: str
    tax_ids: str
    symbol_first: bool = False
    space: str = " "

    def word(self, rng: Random, key: str) -> str:
        """One of the words for `key`."""
        return pick(rng, self.words[key])

    @property
    def letters(self) -> frozenset[str]:
        """Every letter that its documents can have besides ASCII."""
        pools = (self.months, self.products, self.services, self.people, self.firms, self.cities, self.streets)
        text = "".join((*self.words.values(), *pools, self.point, self.thousands))
        return frozenset(letter for letter in text if letter > "~" and not letter.isspace())


def pick(rng: Random, pool: str) -> str:
    """One of the alternatives of a pool."""
    return rng.choice(pool.split("|"))


def fill(rng: Random, pattern: str) -> str:
    """`#` becomes a digit and `?` a capital letter."""
    return "".join(
        str(rng.randrange(10)) if mark == "#" else rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ") if mark == "?" else mark
        for mark in pattern
    )


def words(*texts: str) -> dict[str, str]:
    """Texts in the order of `KEYS`."""
    return dict(zip(KEYS, texts, strict=True))
