"""How documents are laid out: each template draws its own sizes, fonts and colours and gives a page, measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from receipt_trainer.models.paddleocr_vl.synthetic.fonts import Family
from receipt_trainer.models.paddleocr_vl.synthetic.page import Page
from receipt_trainer.models.paddleocr_vl.synthetic.purchase import Habit
from receipt_trainer.models.paddleocr_vl.synthetic.template_invoices import classic, dense, minimal, modern
from receipt_trainer.models.paddleocr_vl.synthetic.template_receipts import bistro, thermal
from receipt_trainer.models.paddleocr_vl.synthetic.words import Wording

Draw = Callable[[Random, Wording, Family], Page]


@dataclass(frozen=True, slots=True)
class Template:
    """A layout.

    Attributes:
        draw: gives the page; raises `TooLongError` where the lines do not fit.
        habit: what its documents are like.
        families: font families it may take, where they have the language's letters.
        difficulty: 0 (easy) to 1, before the number of lines and the camera are counted.
    """

    draw: Draw
    habit: Habit
    families: tuple[str, ...]
    difficulty: float


TEMPLATES: Final[Mapping[str, Template]] = {
    "thermal": Template(thermal, Habit("receipt", (1, 28), columns=0.8), ("mono",), 0.15),
    "bistro": Template(bistro, Habit("receipt", (1, 9), columns=0.7), ("sans", "serif", "times"), 0.1),
    "classic": Template(classic, Habit("invoice", (1, 12), client=0.95), ("times", "serif", "sans"), 0.2),
    "modern": Template(modern, Habit("invoice", (1, 10), client=0.95), ("sans",), 0.25),
    "dense": Template(dense, Habit("invoice", (22, 48), client=0.9), ("sans", "mono", "times"), 0.4),
    "minimal": Template(minimal, Habit("invoice", (1, 6), columns=0.4, client=0.7), ("times", "sans", "mono"), 0.2),
}
"""All layouts by name."""


def choose_family(rng: Random, template: Template, families: tuple[Family, ...]) -> Family:
    """One of those that the template takes, or any where it takes none of them."""
    fitting = [family for family in families if family.name in template.families]
    return rng.choice(fitting or list(families))
