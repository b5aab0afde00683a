"""Receipts that nobody has: seeded, with exact labels, for demos and tests where nothing may be downloaded.

Shops, streets and products are put together from pools and coined syllables, and every receipt draws its own template,
so that a model has to learn how receipts are laid out. All arithmetic is in whole minor units and every draw comes from
`random.Random` seeded by text: the same seed gives the same receipts on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from receipt_trainer.data.receipt import Receipt, image_id_for
from receipt_trainer.data.synthetic.lines import Line, fitted
from receipt_trainer.data.synthetic.page import Damage, draw_damage, place_words
from receipt_trainer.data.synthetic.purchase import Purchase, draw_purchase
from receipt_trainer.data.synthetic.style import draw_moment, draw_style
from receipt_trainer.data.synthetic.template import Printer
from receipt_trainer.data.synthetic.text import KINDS

SOURCE = "synthetic"


def generate(count: int, seed: int, *, noise: bool = True) -> Iterator[Receipt]:
    """`count` receipts of source "synthetic"; receipt i depends on `seed` and i alone.

    Args:
        count: number of receipts.
        seed: any whole number.
        noise: whether the reader of the photo makes mistakes; without it every word stands as printed.
    """
    for index in range(count):
        yield _receipt(seed, index, noise)


def _receipt(seed: int, index: int, noise: bool) -> Receipt:
    # Text as a seed goes through SHA-512, which no interpreter setting changes.
    rng = Random(f"{seed}:{index}")
    purchase = draw_purchase(rng, rng.choice(KINDS))
    style = draw_style(rng, purchase.locale)
    printed = Printer(rng, purchase, style, draw_moment(rng)).lines()
    lines = [part for line in printed for part in fitted(_in_case(line, style.upper), style.width)]
    damage = draw_damage(rng) if noise else Damage()
    words, width, height = place_words(rng, lines, style.width, damage)
    name = f"synthetic-{seed}-{index:06d}"
    return Receipt(
        image_id=image_id_for(SOURCE, name),
        receipt_id=1,
        words=tuple(words),
        name=name,
        source=SOURCE,
        width=width,
        height=height,
        extra={"fields": _fields(purchase)},
    )


def _in_case(line: Line, upper: bool) -> Line:
    if not upper:
        return line
    raised = (tuple((text.upper(), label) for text, label in cell.tokens) for cell in line.cells)
    cells = (replace(cell, tokens=tokens) for cell, tokens in zip(line.cells, raised, strict=True))
    return replace(line, cells=tuple(cells))


def _fields(purchase: Purchase) -> dict[str, int | bool | str]:
    """The purchase behind the receipt, amounts in minor units of its currency."""
    return {
        "kind": purchase.kind,
        "decimals": purchase.locale.decimals,
        "item_discount": purchase.item_discount,
        "subtotal": purchase.subtotal,
        "discount": purchase.discount,
        "service": purchase.service,
        "tax": purchase.tax,
        "tax_included": purchase.tax_included,
        "rounding": purchase.rounding,
        "total": purchase.total,
    }
