"""Countries and languages, from `locales.toml` and `languages.toml`, and invented names there."""

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
from faker import Factory

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
    tax_ids: tuple[tuple[str, str], ...]
    bank: str
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
        table |= {key: tuple(map(tuple, table[key])) for key in ("currencies", "taxes", "tax_ids")}
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


_PROVIDERS: Final = [f"faker.providers.{name}" for name in ("address", "company", "person", "phone_number")]
_ONSETS: Final = "b|br|c|ch|d|dr|f|g|gl|h|j|k|kr|l|m|n|p|pr|r|s|sh|st|t|tr|v|w|y|z"
_VOWELS: Final = "a|e|i|o|u|ai|ea|oo"
_CODAS: Final = "|||n|r|l|s|m|ck|nd|rt|x|ng|lle"


@cache
def _faker(code: str) -> Any:
    # Weights would only repeat the most frequent names.
    return Factory.create(code, providers=_PROVIDERS, use_weighting=False)


def fake(rng: Random, locale: Locale, pool: str) -> str:
    """One pattern of a pool, its `#` and `?`, `[name]` and Faker's `{{...}}` filled in; one line."""
    faker = _faker(locale.faker or locale.code)
    faker.random = rng
    pattern = fill(rng, pick(rng, pool))
    while "[name]" in pattern:
        pattern = pattern.replace("[name]", surname(rng, locale), 1)
    return " ".join(str(faker.parse(pattern)).replace("\n", ", ").replace(" ,", ",").split())


def surname(rng: Random, locale: Locale) -> str:
    """Somebody's surname; where letters are Latin, two in five are made of syllables, so that no list knows them."""
    if locale.latin and rng.random() < 0.4:
        return coined(rng)
    faker = _faker(locale.faker or locale.code)
    faker.random = rng
    return str(faker.last_name())


def coined(rng: Random) -> str:
    """A name of two or three syllables."""
    syllables = [pick(rng, _ONSETS) + pick(rng, _VOWELS) for _ in range(rng.choice((2, 3, 3)))]
    return ("".join(syllables) + pick(rng, _CODAS)).capitalize()


def person(rng: Random, locale: Locale) -> str:
    """A cashier."""
    return fake(rng, locale, "{{first_name}}|{{first_name}}|{{first_name}} {{last_name}}|[name]")


def firm(rng: Random, locale: Locale, shop: Shop) -> str:
    """A firm of that kind, sometimes with its legal form."""
    name = pick(rng, shop.firms).format(a=surname(rng, locale), b=surname(rng, locale))
    return pick(rng, locale.legal).format(name) if rng.random() < 0.3 else name


def address(rng: Random, locale: Locale) -> tuple[str, str]:
    """Street and town."""
    return fake(rng, locale, locale.streets), fake(rng, locale, locale.towns)


def product(rng: Random, locale: Locale, shop: Shop, noun: str, *, sized: bool) -> str:
    """A shop's article as it is printed on a receipt: maybe a modifier before it, a brand, a size behind it."""
    parts = [noun]
    if shop.modifiers and rng.random() < 0.5:
        parts.insert(0, pick(rng, shop.modifiers))
    if locale.latin and rng.random() < 0.3:
        parts.insert(0, surname(rng, locale))
    if sized and shop.sizes and rng.random() < 0.6:
        parts.append(pick(rng, shop.sizes))
    return " ".join(part for part in parts if part)
