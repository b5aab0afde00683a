"""Drawn documents for tests."""

from __future__ import annotations

from functools import cache

from receipt_trainer.models.paddleocr_vl.synthetic.draw import Drawn, draw_example
from receipt_trainer.models.paddleocr_vl.synthetic.languages import LANGUAGES, fonts_of
from receipt_trainer.models.paddleocr_vl.synthetic.templates import TEMPLATES

ALL = tuple(TEMPLATES)
BUNDLED = tuple(code for code in LANGUAGES if code not in ("ja", "zh"))


def draw(index: int, *, seed: int = 0, templates: tuple[str, ...] = ALL, languages: tuple[str, ...] = BUNDLED) -> Drawn:
    return draw_example(seed, index, templates, [(LANGUAGES[code], fonts_of(LANGUAGES[code])) for code in languages])


@cache
def many() -> tuple[Drawn, ...]:
    return tuple(draw(index) for index in range(240))
