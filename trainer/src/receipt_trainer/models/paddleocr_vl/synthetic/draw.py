"""Example k of a seed: its page and its truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from receipt_trainer.models.paddleocr_vl.synthetic.fonts import Family
from receipt_trainer.models.paddleocr_vl.synthetic.language import Language
from receipt_trainer.models.paddleocr_vl.synthetic.page import Page, TooLongError
from receipt_trainer.models.paddleocr_vl.synthetic.purchase import draw_document
from receipt_trainer.models.paddleocr_vl.synthetic.templates import TEMPLATES, choose_family
from receipt_trainer.models.paddleocr_vl.synthetic.words import choose_words

_TRIES: Final = 200


@dataclass(frozen=True, slots=True)
class Drawn:
    """A laid out document. `truth` is what stands on the page; `difficulty` from 0 to 1."""

    page: Page
    truth: dict[str, Any]
    template: str
    language: str
    difficulty: float


def draw_example(
    seed: int, index: int, templates: Sequence[str], languages: Sequence[tuple[Language, tuple[Family, ...]]]
) -> Drawn:
    """Example `index`, which depends on the arguments and nothing else.

    Args:
        templates: names in `TEMPLATES`.
        languages: each with the fonts that have its letters.
    """
    # Text as a seed goes through SHA-512, which no interpreter setting changes.
    rng = Random(f"vl:{seed}:{index}")
    name = rng.choice(templates)
    template = TEMPLATES[name]
    language, families = rng.choice(languages)
    family = choose_family(rng, template, families)
    document = draw_document(rng, language, template.habit)
    for _ in range(_TRIES):
        formatting = choose_words(rng, document, language, family)
        try:
            page = template.draw(rng, formatting, family)
        except TooLongError:  # fewer lines until they fit; where it was a width, another draw of sizes
            if len(document.items) > 1 and rng.random() < 0.7:
                document = document.shortened(max(1, len(document.items) * 4 // 5))
            elif rng.random() < 0.3:
                document = draw_document(rng, language, template.habit)
            continue
        page.check()
        long = min(1.0, len(document.items) / 40)
        return Drawn(page, document.truth(), name, language.code, round(template.difficulty + 0.4 * long, 3))
    raise RuntimeError(f"example {index} of seed {seed}: {name} fits no document in {language.code}")
