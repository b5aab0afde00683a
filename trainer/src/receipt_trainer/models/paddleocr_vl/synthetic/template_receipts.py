"""Receipts: narrow paper, as long as it must be."""

from __future__ import annotations

from random import Random

from receipt_trainer.models.paddleocr_vl.synthetic.blocks import put_inline, put_pairs
from receipt_trainer.models.paddleocr_vl.synthetic.document import Item
from receipt_trainer.models.paddleocr_vl.synthetic.fonts import Face, Family
from receipt_trainer.models.paddleocr_vl.synthetic.page import INK, Page, TooLongError, wrap
from receipt_trainer.models.paddleocr_vl.synthetic.words import Wording


def thermal(rng: Random, formatting: Wording, family: Family) -> Page:
    """A till's printer: one typewriter face, rules of dashes, quantity and price under or beside the name."""
    face = Face(family, rng.choice((15, 16, 17, 18)))
    page = Page(rng.choice((400, 440, 480, 520)))
    margin = rng.randint(14, 24)
    under = rng.random() < 0.5
    y = _head(rng, page, formatting, face, rng.randint(16, 36), margin)
    y = _dashes(page, y, face, margin, rng.choice("-=*"))
    for item in formatting.document.items:
        y = _line(page, formatting, item, y, face, margin, under)
    y = _dashes(page, y, face, margin, "-")
    y = put_pairs(page, formatting.totals(), y, face, margin, page.width - margin)
    return _foot(rng, page, formatting, y + face.size, face)


def bistro(rng: Random, formatting: Wording, family: Family) -> Page:
    """A restaurant's slip: proportional type, quantities first, thin rules."""
    face = Face(family, rng.choice((17, 18, 20)))
    page = Page(rng.choice((460, 500, 540)))
    margin = rng.randint(26, 40)
    y = _head(rng, page, formatting, face, rng.randint(24, 44), margin) + face.size // 2
    page.rule(margin, y, page.width - margin, y)
    y += face.size // 2
    for item in formatting.document.items:
        y = _line(page, formatting, item, y, face, margin, under=False, first=True)
    y += face.size // 2
    page.rule(margin, y, page.width - margin, y, INK, 2)
    y = put_pairs(page, formatting.totals(), y + face.size // 2, face, margin, page.width - margin)
    return _foot(rng, page, formatting, y + face.size, face)


def _head(rng: Random, page: Page, formatting: Wording, face: Face, y: int, margin: int) -> int:
    """The shop, centred; what the paper is; number and date."""
    vendor, middle, width = formatting.document.vendor, page.width // 2, page.width - 2 * margin
    large = Face(face.family, face.size * rng.choice((5, 6, 7)) // 4, bold=rng.random() < 0.7)
    for line in wrap(vendor.name, large, width):
        y = page.put(line, middle, y, large, align="c", label="MERCHANT_NAME")
    for line in vendor.address:
        for part in wrap(line, face, width):
            y = page.put(part, middle, y, face, align="c", label="ADDRESS_LINE")
    for row in formatting.contacts(vendor):
        _must_fit(f"{row.name}: {row.value}", face, width)
        y = put_inline(page, row, middle, y, face, align="c")
    y += face.size // 2
    if rng.random() < 0.6:
        y = page.put(formatting.heading(), middle, y, Face(face.family, face.size, bold=True), align="c")
    for row in formatting.facts():
        _must_fit(f"{row.name}: {row.value}", face, width)
        y = put_inline(page, row, margin, y, face)
    return y


def _line(
    page: Page, formatting: Wording, item: Item, y: int, face: Face, margin: int, under: bool, *, first: bool = False
) -> int:
    """`first`: "2 x name  total"; `under`: quantity and price on a line below the name; else before the total."""
    cells = formatting.cells(item)
    right = page.width - margin
    total = face.width(cells["amount"])
    if first and cells["quantity"]:
        return _line_quantity_first(page, cells, y, face, margin, right)
    has_columns = bool(cells["quantity"])
    detail = f"{cells['quantity']} x {cells['price']}" if has_columns else ""
    room = right - margin - total - face.size
    if has_columns and not under and face.width(f"{cells['item']} {detail}") + face.size > room:
        under = True
    for n, line in enumerate(wrap(cells["item"], face, room)):
        end = page.put(line, margin, y, face, label="PRODUCT_NAME")
        if n == 0 and not (under and has_columns):
            page.put(cells["amount"], right, y, face, align="r", label="LINE_TOTAL")
            if has_columns:
                _detail(page, cells, right - total - face.size, y, face)
        y = end
    if has_columns and under:
        _must_fit(detail, face, room - 2 * face.size)
        _detail(page, cells, margin + 2 * face.size + face.width(detail), y, face)
        y = page.put(cells["amount"], right, y, face, align="r", label="LINE_TOTAL")
    return y


def _line_quantity_first(page: Page, cells: dict[str, str], y: int, face: Face, left: int, right: int) -> int:
    """Quantity, name and total on one line, the unit price behind an @ below."""
    count = max(2 * face.size, face.width(cells["quantity"]) + face.size // 2)
    page.put(cells["quantity"], left, y, face, label="QUANTITY")
    page.put(cells["amount"], right, y, face, align="r", label="LINE_TOTAL")
    room = right - left - count - face.width(cells["amount"]) - face.size
    if room < 4 * face.size:
        raise TooLongError(cells["amount"])
    for line in wrap(cells["item"], face, room):
        y = page.put(line, left + count, y, face, label="PRODUCT_NAME")
    small = Face(face.family, face.size - 2)
    page.put("@", left + count, y, small)
    return page.put(cells["price"], left + count + small.width("@ "), y, small, label="UNIT_PRICE")


def _detail(page: Page, cells: dict[str, str], right: int, y: int, face: Face) -> None:
    """ "2 x 3.50", its right end at `right`."""
    page.put(cells["price"], right, y, face, align="r", label="UNIT_PRICE")
    right -= face.width(cells["price"])
    page.put("x", right - face.width(" "), y, face, align="r")
    page.put(cells["quantity"], right - face.width("x  "), y, face, align="r", label="QUANTITY")


def _dashes(page: Page, y: int, face: Face, margin: int, mark: str) -> int:
    count = int((page.width - 2 * margin) * 50 / face.font.getlength(mark * 50))
    return page.put(mark * count, margin, y, face)


def _foot(rng: Random, page: Page, formatting: Wording, y: int, face: Face) -> Page:
    if formatting.document.terms.reverse:
        for line in wrap(formatting.label["reverse"], face, page.width - 60):
            y = page.put(line, page.width // 2, y, face, align="c")
    if rng.random() < 0.8:
        y = page.put(formatting.label["thanks"], page.width // 2, y, face, align="c")
    page.height = y + rng.randint(16, 60)
    return page


def _must_fit(text: str, face: Face, width: int) -> None:
    if face.width(text) > width:
        raise TooLongError(text)
