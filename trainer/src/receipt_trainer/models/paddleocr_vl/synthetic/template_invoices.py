"""Invoices on A4."""

from __future__ import annotations

from random import Random
from typing import Final

from receipt_trainer.models.paddleocr_vl.synthetic.blocks import TableLook, put_inline, put_pairs, put_party, put_table
from receipt_trainer.models.paddleocr_vl.synthetic.fonts import Face, Family
from receipt_trainer.models.paddleocr_vl.synthetic.page import GREY, INK, Colour, Page, TooLongError, wrap
from receipt_trainer.models.paddleocr_vl.synthetic.words import Wording

A4: Final = (992, 1403)
"""Pixels of a page at 120 dots an inch."""

_ACCENTS: Final[tuple[Colour, ...]] = (
    *((23, 64, 120), (120, 26, 38), (18, 92, 74), (72, 44, 110), (40, 44, 52), (150, 74, 8)),
)


def classic(rng: Random, formatting: Wording, family: Family) -> Page:
    """Letterhead left, facts right, the client below, a table in a grid."""
    page, margin = Page(*A4), rng.randint(64, 90)
    face, document = Face(family, rng.choice((17, 18, 19))), formatting.document
    right, middle = page.width - margin, page.width // 2
    title = Face(family, rng.choice((30, 34, 38)), bold=True)
    y = page.put(formatting.heading(), right, margin, title, align="r") + 10
    end = put_party(
        page, document.vendor, formatting.contacts(document.vendor), margin, margin, face, middle - margin - 20
    )
    _reach(end, page)
    for row in formatting.facts():
        y = put_inline(page, row, right, y, face, align="r")
    y = _client(page, formatting, max(y, end) + 36, face, margin, middle)
    look = TableLook(margin, right, rng.choice(("full", "rows")), rng.choice((None, (226, 228, 232))), gap=6)
    y = put_table(page, formatting, y + 30, face, look, page.height - 330)
    return _totals_and_foot(rng, page, formatting, y + 12, face, margin)


def modern(rng: Random, formatting: Wording, family: Family) -> Page:
    """A band of colour with name and title, two columns of facts, a tinted table."""
    page, margin, accent = Page(*A4), rng.randint(56, 80), rng.choice(_ACCENTS)
    face, document = Face(family, rng.choice((15, 16, 17))), formatting.document
    right, middle = page.width - margin, page.width // 2
    white: Colour = (255, 255, 255)
    title, name = Face(family, rng.choice((30, 34)), bold=True), Face(family, 24, bold=True)
    height = rng.randint(120, 160)
    page.band(0, 0, page.width, height, accent)
    page.put(formatting.heading(), right, height // 2 - 20, title, align="r", colour=white)
    room = right - margin - title.width(formatting.heading()) - 40
    lines = wrap(document.vendor.name, name, room)
    if len(lines) > 2:
        raise TooLongError(document.vendor.name)
    top = height // 2 - len(lines) * name.line_height // 2
    for line in lines:
        top = page.put(line, margin, top, name, colour=white, label="MERCHANT_NAME")
    y = left = height + 34
    for address in document.vendor.address:
        left = page.put(address, margin, left, face, label="ADDRESS_LINE")
    for row in formatting.contacts(document.vendor):
        left = put_inline(page, row, margin, left, face)
    y = put_pairs(page, formatting.facts(), y, face, middle + 40, right)
    y = _client(page, formatting, max(y, left) + 30, face, margin, middle, accent)
    look = TableLook(margin, right, "zebra", accent, white, gap=9, quantity_first=rng.random() < 0.3)
    y = put_table(page, formatting, y + 30, face, look, page.height - 330)
    return _totals_and_foot(rng, page, formatting, y + 16, face, margin)


def dense(rng: Random, formatting: Wording, family: Family) -> Page:
    """Small type, numbered rows down to the foot of the page."""
    page, margin = Page(*A4), rng.randint(40, 60)
    face, document = Face(family, rng.choice((13, 14))), formatting.document
    right, middle = page.width - margin, page.width // 2
    title = Face(family, 22, bold=True)
    y = page.put(formatting.heading(), margin, margin, title) + 6
    end = put_party(
        page, document.vendor, formatting.contacts(document.vendor), right, margin, face, middle - margin, align="r"
    )
    for row in formatting.facts():
        y = put_inline(page, row, margin, y, face)
    y = _client(page, formatting, max(y, end) + 12, face, margin, middle)
    look = TableLook(
        *(margin, right, rng.choice(("full", "rows", "zebra")), rng.choice((None, (222, 224, 228)))),
        gap=rng.choice((3, 4)),
        pad=6,
        numbered=rng.random() < 0.7,
    )
    y = put_table(page, formatting, y + 14, face, look, page.height - margin - 190)
    return _totals_and_foot(rng, page, formatting, y + 6, face, margin)


def minimal(rng: Random, formatting: Wording, family: Family) -> Page:
    """Much white, no rule at all."""
    page, margin = Page(*A4), rng.randint(90, 130)
    face, document = Face(family, rng.choice((18, 20))), formatting.document
    right = page.width - margin
    y = put_party(page, document.vendor, formatting.contacts(document.vendor), margin, margin, face, right - margin)
    y = page.put(formatting.heading(), margin, y + 60, Face(family, 26, bold=rng.random() < 0.5)) + 12
    for row in formatting.facts():
        y = put_inline(page, row, margin, y, face)
    y = _client(page, formatting, y + 30, face, margin, right)
    y = put_table(page, formatting, y + 50, face, TableLook(margin, right, "none", pad=8), page.height - 330)
    return _totals_and_foot(rng, page, formatting, y + 24, face, margin)


def _client(page: Page, formatting: Wording, y: int, face: Face, left: int, right: int, colour: Colour = GREY) -> int:
    client = formatting.document.client
    if client is None:
        return y
    y = page.put(formatting.label["to"], left, y, Face(face.family, face.size, bold=True), colour=colour) + 2
    return put_party(page, client, formatting.contacts(client), left, y, face, right - left - 20, labels=("", ""))


def _totals_and_foot(rng: Random, page: Page, formatting: Wording, y: int, face: Face, margin: int) -> Page:
    """Totals at the right under the table; a word about payment at the foot of the page."""
    right = page.width - margin
    left = right - rng.randint(330, 400)
    y = put_pairs(page, formatting.totals(), y, face, left, right)
    if formatting.document.terms.reverse:
        y = page.put(formatting.label["reverse"], margin, y + face.size, face)
    foot = page.height - margin - 30
    if rng.random() < 0.7 and y + face.line_height < foot:
        page.put(formatting.label["terms"], margin, foot, Face(face.family, face.size - 2), colour=INK)
    _reach(y, page)
    return page


def _reach(y: int, page: Page) -> None:
    if y > page.height - 20:
        raise TooLongError(f"{y} of {page.height} pixels")
