"""Invented or untraceable names: people, firms, addresses, phones and products."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any, Final

from faker import Factory

from receipt_trainer.data.synthetic.locales import Locale, Shop, fill, pick

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


def product(rng: Random, locale: Locale, shop: Shop, noun: str) -> str:
    """A shop's article as it is printed on a receipt: maybe a modifier before it, a brand, a size behind it."""
    parts = [noun]
    if shop.modifiers and rng.random() < 0.5:
        parts.insert(0, pick(rng, shop.modifiers))
    if locale.latin and rng.random() < 0.3:
        parts.insert(0, surname(rng, locale))
    if shop.sizes and rng.random() < 0.6:
        parts.append(pick(rng, shop.sizes))
    return " ".join(part for part in parts if part)
