"""Documents that do not exist elsewhere: seeded, with exact labels and truth, for demos, tests and training.

Every document draws its country, its shop, its words and its layout, so that a model has to learn how documents are
laid out. Amounts are decimals, and every draw comes from `random.Random` seeded by text: the same seed gives the same
documents on every machine with the same Faker and Babel (and, for images, Pillow). `generate` gives words with boxes
and needs no font; `dataset` draws such pages as images. Faker and Babel are the extra `[synthetic]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any, Final

from receipt_trainer.data.document import number
from receipt_trainer.data.receipt import Receipt, image_id_for
from receipt_trainer.data.synthetic.layout import LaidOut, lay_out
from receipt_trainer.data.synthetic.locales import locales
from receipt_trainer.data.synthetic.page import PlainFamily
from receipt_trainer.data.synthetic.words import Damage, draw_damage, draw_varied_damage, read_page

SOURCE: Final = "synthetic"
_COUNTRIES: Final = ("en_US", "en_CA", "en_GB", "en_AU", "en_SG", "en_MY", "id_ID", "de_DE", "fr_FR")
_MORE_COUNTRIES: Final = ("en_US", "en_IN", "es_ES", "it_IT")
_TEMPLATES: Final = ("thermal", "thermal", "thermal", "bistro")
_FAMILIES: Final = (PlainFamily("mono"), PlainFamily("sans", typewriter=False))


def generate(count: int, seed: int, *, noise: bool = True, varied: bool = False) -> Iterator[Receipt]:
    """`count` receipts of source "synthetic"; receipt i depends on `seed` and i alone.

    Args:
        count: number of receipts.
        seed: any whole number.
        noise: whether the reader of the photo makes mistakes; without it every word stands as printed.
        varied: receipts to learn from before others: more countries, and often whole phrases as one word, tilted.
    """
    countries = [(locales()[code], _FAMILIES) for code in (*_COUNTRIES, *(_MORE_COUNTRIES if varied else ()))]
    for index in range(count):
        # Text as a seed goes through SHA-512, which no interpreter setting changes.
        rng = Random(f"{seed}:{index}")
        laid_out = lay_out(rng, _TEMPLATES, countries, truthful=False)
        name = f"synthetic-{'varied-' if varied else ''}{seed}-{index:06d}"
        damage = draw_varied_damage if varied else draw_damage
        yield receipt_of(laid_out, name, SOURCE, rng, damage(rng) if noise else Damage())


def receipt_of(laid_out: LaidOut, name: str, source: str, rng: Random, damage: Damage) -> Receipt:
    """The words on a page as a receipt, with the amounts of the purchase behind it as its `fields`."""
    words, width, height = read_page(laid_out.page, rng, damage)
    return Receipt(
        image_id=image_id_for(source, name),
        receipt_id=1,
        words=tuple(words),
        name=name,
        source=source,
        width=width,
        height=height,
        extra={"document_type": laid_out.document.kind, "fields": _fields(laid_out)},
    )


def _fields(laid_out: LaidOut) -> dict[str, Any]:
    document, totals = laid_out.document, laid_out.document.totals
    return {
        "kind": document.shop,
        "currency": document.currency,
        "item_discount": number(-sum((item.total for item in document.items if item.total < 0), Decimal(0))),
        "subtotal": number(totals.subtotal),
        "discount": number(totals.discount),
        "service": number(totals.service),
        "tax": number(totals.tax),
        "tax_included": document.terms.inside,
        "rounding": number(totals.rounding),
        "total": number(totals.grand_total),
    }
