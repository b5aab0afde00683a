"""Laid out documents for tests."""

from __future__ import annotations

from functools import cache

from receipt_trainer.data.synthetic.layout import TEMPLATES, LaidOut, lay_out_example
from receipt_trainer.data.synthetic.locales import languages
from receipt_trainer.data.synthetic.render import fonts_of

ALL = tuple(TEMPLATES)
BUNDLED = tuple(code for code in languages() if code not in ("ja", "zh"))


def laid_out(
    index: int, *, seed: int = 0, templates: tuple[str, ...] = ALL, codes: tuple[str, ...] = BUNDLED
) -> LaidOut:
    known = languages()
    return lay_out_example(seed, index, templates, {known[code]: fonts_of(known[code]) for code in codes})


@cache
def many() -> tuple[LaidOut, ...]:
    return tuple(laid_out(index) for index in range(240))
