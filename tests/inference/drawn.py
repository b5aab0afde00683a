"""Drawn receipts as photos, with the words that stand on them."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
from PIL import Image

from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.synthetic import receipt_of
from receipt_trainer.data.synthetic.layout import lay_out_example
from receipt_trainer.data.synthetic.locales import languages
from receipt_trainer.data.synthetic.render import draw, fonts_of, photograph
from receipt_trainer.data.synthetic.words import Damage


def drawn_receipt(seed: int, index: int, template: str = "thermal") -> tuple[Image.Image, Receipt]:
    """An English receipt as printed, and its words where they stand."""
    english = languages()["en"]
    laid_out = lay_out_example(seed, index, (template,), {english: fonts_of(english)})
    return draw(laid_out.page), receipt_of(laid_out, f"drawn-{seed}-{index}", "drawn", Random(0), Damage())


def photo(seed: int, index: int, turn: float = 0.0) -> tuple[Image.Image, Receipt]:
    """A receipt as photographed, then turned counterclockwise by some degrees."""
    page, receipt = drawn_receipt(seed, index)
    taken = photograph(page, np.random.default_rng([seed, index]))
    return taken.rotate(turn, Image.Resampling.BICUBIC, expand=True, fillcolor=(90, 90, 90)), receipt


def recall(printed: list[str], read: list[str]) -> float:
    """The share of printed words that were read, letters and digits only, in any order."""
    gold, found = (Counter(filter(None, map(_plain, words))) for words in (printed, read))
    return sum((gold & found).values()) / sum(gold.values())


def _plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum())
