"""Countries and languages: how documents are written there, from `locales.toml` and `languages.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

from babel import Locale as Cldr

_CAPITALS: Final = "ABCEFGHJKLMNPRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Shop:
    """Names and goods of one kind of shop; pools of alternatives with `|` between them."""

    firms: str
    nouns: str
    modifiers: str = ""
    sizes: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """The words of a language: `words` by what they are for, `shops` by kind."""

    code: str
    words: Mapping[str, str]
    shops: Mapping[str, Shop]

    @property
    def letters(self) -> frozenset[str]:
        """Letters of its words besides ASCII; a font that has them has those of the names in it."""
        pools = (f"{shop.firms}{shop.nouns}" for shop in self.shops.values())
        return frozenset(letter for letter in "".join((*self.words.values(), *pools)) if letter > "\u00a0")


@dataclass(frozen=True, slots=True, eq=False)
class Locale:
    """How documents are written in a country; pools and patterns as in `locales.toml`, which explains them.

    Attributes:
        code: as Babel has it, "en_US"; `faker` is Faker's, if another one.
    """

    code: str
    language: Language
    currencies: tuple[tuple[str, int], ...]
    taxes: tuple[tuple[str, str], ...]
    inside: float
    towns: str
    tax_ids: str
    legal: str
    dates: str
    streets: str = "{{street_address}}"
    phones: str = "{{phone_number}}"
    faker: str = ""
    numbers: str = ""
    together: bool = False

    @property
    def cldr(self) -> Cldr:
        """Babel's data of the country."""
        return cldr(self.code)

    @property
    def latin(self) -> bool:
        """Whether names are written in Latin letters."""
        return self.language.code not in ("el", "ru", "ja", "zh")


@dataclass(frozen=True, slots=True)
class Currency:
    """`scale`: what costs a dollar costs about so much; prices are multiples of `step`."""

    scale: Decimal
    step: Decimal


cldr = cache(Cldr.parse)


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


@cache
def languages() -> Mapping[str, Language]:
    """All languages by their ISO 639-1 code."""
    return {
        code: Language(
            code,
            {key: value for key, value in table.items() if isinstance(value, str)},
            {kind: Shop(**shop) for kind, shop in table.items() if not isinstance(shop, str)},
        )
        for code, table in _table("languages.toml").items()
    }


@cache
def locales() -> Mapping[str, Locale]:
    """All countries by code."""
    found = {}
    for code, table in _table("locales.toml")["locales"].items():
        table |= {key: tuple(map(tuple, table[key])) for key in ("currencies", "taxes")}
        found[code] = Locale(code=code, language=languages()[code[:2]], **table)
    return found


@cache
def currencies() -> Mapping[str, Currency]:
    """The currencies and their values, by ISO 4217 code."""
    return {code: Currency(*map(Decimal, pair)) for code, pair in _table("locales.toml")["currencies"].items()}


def pick(rng: Random, pool: str) -> str:
    """One of the alternatives that stand between `|`; an empty one counts."""
    return rng.choice(pool.split("|"))


def fill(rng: Random, pattern: str) -> str:
    """`pattern` with each `#` a random digit and each `?` a random capital letter."""
    return "".join(
        str(rng.randrange(10)) if mark == "#" else rng.choice(_CAPITALS) if mark == "?" else mark for mark in pattern
    )
