"""Example k of a seed, laid out: its templates, its page and its truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from receipt_trainer.data.synthetic.corpus import OwnVendor
from receipt_trainer.data.synthetic.invoices import classic, dense, minimal, modern
from receipt_trainer.data.synthetic.locales import Language, Locale, locales
from receipt_trainer.data.synthetic.page import Family, Page, TooLongError
from receipt_trainer.data.synthetic.purchase import Document, Habit, draw_document
from receipt_trainer.data.synthetic.receipts import bistro, till
from receipt_trainer.data.synthetic.wording import Wording, choose_words

_TRIES: Final = 200
_SHOPS: Final = ("grocery", "restaurant", "pharmacy", "petrol", "hardware")
_BESIDE: Final = ("all", "all", "all", "several", "several", "several", "quantity", "none")


@dataclass(frozen=True, slots=True)
class Template:
    """A layout.

    Attributes:
        draw: gives the page; raises `TooLongError` where the lines do not fit.
        habit: what its documents are like.
        families: font families it may take, where they have the language's letters.
        difficulty: 0 (easy) to 1, before the number of lines and the camera are counted.
    """

    draw: Callable[[Random, Wording, Family], Page]
    habit: Habit
    families: tuple[str, ...]
    difficulty: float


TEMPLATES: Final[Mapping[str, Template]] = {
    "thermal": Template(till, Habit("receipt", _SHOPS, details=_BESIDE), ("mono",), 0.15),
    "bistro": Template(bistro, Habit("receipt", ("restaurant",), details=_BESIDE), ("sans", "serif", "times"), 0.1),
    "classic": Template(
        classic, Habit("invoice", ("services",), (1, 12), client=0.95), ("times", "serif", "sans"), 0.2
    ),
    "modern": Template(modern, Habit("invoice", ("services",), (1, 10), client=0.95), ("sans",), 0.25),
    "dense": Template(dense, Habit("invoice", ("services",), (22, 48), client=0.9), ("sans", "mono", "times"), 0.4),
    "minimal": Template(
        minimal, Habit("invoice", ("services",), (1, 6), ("all", "none"), client=0.7), ("times", "sans", "mono"), 0.2
    ),
}
"""All layouts by name."""


@dataclass(frozen=True, slots=True)
class LaidOut:
    """A document on its page; `difficulty` from 0 to 1."""

    page: Page
    document: Document
    template: str
    language: str
    difficulty: float

    @property
    def truth(self) -> dict[str, Any]:
        """The content of the page, as truth."""
        return self.document.truth()


def lay_out(
    rng: Random,
    templates: Sequence[str],
    countries: Sequence[tuple[Locale, Sequence[Family]]],
    *,
    truthful: bool,
    vendors: Sequence[OwnVendor] = (),
) -> LaidOut:
    """A document that is drawn from `rng` and nothing else.

    Args:
        rng: the only source of chance.
        templates: names in `TEMPLATES`.
        countries: each with the families that have its letters.
        truthful, vendors: as in `draw_document`.
    """
    name = rng.choice(templates)
    template = TEMPLATES[name]
    locale, families = rng.choice(countries)
    family = rng.choice([family for family in families if family.name in template.families] or families)
    document = draw_document(rng, locale, template.habit, truthful=truthful, vendors=vendors)
    for _ in range(_TRIES):
        try:
            page = template.draw(rng, choose_words(rng, document, locale, family), family)
        except TooLongError:  # fewer lines until they fit; where it was a width, another draw of sizes
            if len(document.items) > 1 and rng.random() < 0.7:
                document = document.shortened(max(1, len(document.items) * 4 // 5))
            elif rng.random() < 0.3:
                document = draw_document(rng, locale, template.habit, truthful=truthful, vendors=vendors)
            continue
        if not all(family.covers(text.text.replace(" ", "")) for text in page.texts):
            document = draw_document(rng, locale, template.habit, truthful=truthful, vendors=vendors)
            continue
        page.check()
        long = min(1.0, len(document.items) / 40)
        return LaidOut(page, document, name, locale.language.code, round(template.difficulty + 0.4 * long, 3))
    raise RuntimeError(f"{name} fits no document of {locale.code}")


def lay_out_example(
    seed: int,
    index: int,
    templates: Sequence[str],
    languages: Mapping[Language, Sequence[Family]],
    vendors: Sequence[OwnVendor] = (),
) -> LaidOut:
    """Example `index` of a seed, which depends on the arguments and nothing else.

    Args:
        templates: names in `TEMPLATES`.
        languages: each with the fonts that have its letters; all languages are equally frequent.
        vendors: as in `draw_document`.
    """
    # Text as a seed goes through SHA-512, which no interpreter setting changes.
    rng = Random(f"vl:{seed}:{index}")
    language = rng.choice(list(languages))
    countries = [(locale, languages[language]) for locale in locales().values() if locale.language is language]
    return lay_out(rng, templates, countries, truthful=True, vendors=vendors)
