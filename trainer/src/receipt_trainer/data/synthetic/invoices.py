"""Invoices on A4: letterhead, facts, the client, a table of lines, totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from receipt_trainer.data.synthetic.locales import fill, pick
from receipt_trainer.data.synthetic.page import (
    GREY,
    INK,
    Align,
    Cell,
    Colour,
    Face,
    Family,
    Page,
    TooLongError,
    cell,
    wrap,
)
from receipt_trainer.data.synthetic.purchase import Party
from receipt_trainer.data.synthetic.wording import LabelledRow, Wording

A4: Final = (992, 1403)
"""Pixels of a page at 120 dots an inch."""

_WHITE: Final[Colour] = (255, 255, 255)
_ACCENTS: Final[tuple[Colour, ...]] = (
    *((23, 64, 120), (120, 26, 38), (18, 92, 74), (72, 44, 110), (40, 44, 52), (150, 74, 8)),
)
_COLUMNS: Final = {
    "quantity": "QUANTITY",
    "item": "PRODUCT_NAME",
    "price": "UNIT_PRICE",
    "amount": "LINE_TOTAL",
}
"""Columns of a table and the labels of their words."""


def classic(rng: Random, wording: Wording, family: Family) -> Page:
    """Letterhead left, facts right, the client below, a table in a grid."""
    sheet = _Sheet(rng, wording, Face(family, rng.choice((17, 18, 19))), rng.randint(64, 90))
    page, face, right = sheet.page, sheet.face, sheet.right
    y = page.put(sheet.heading, right, sheet.left, face.of(rng.choice((30, 34, 38)), bold=True), align="r") + 10
    end = sheet.party(wording.document.vendor, sheet.left, sheet.middle - 20)
    y = max(end, sheet.facts(y, sheet.middle, right, "r"))
    sheet.y = sheet.client(y + 36, sheet.left, sheet.middle) + 30
    head: Colour | None = rng.choice((None, (226, 228, 232)))
    sheet.table(_Look(rng.choice(("full", "rows")), head, gap=6), page.height - 330)
    return sheet.finished(12)


def modern(rng: Random, wording: Wording, family: Family) -> Page:
    """A band of colour with name and title, two columns of facts, a tinted table."""
    sheet = _Sheet(rng, wording, Face(family, rng.choice((15, 16, 17))), rng.randint(56, 80))
    page, face, left, right, vendor = sheet.page, sheet.face, sheet.left, sheet.right, wording.document.vendor
    title, name, accent = face.of(rng.choice((30, 34)), bold=True), face.of(24, bold=True), rng.choice(_ACCENTS)
    height = rng.randint(120, 160)
    page.band(0, 0, page.width, height, accent)
    page.put(sheet.heading, right, height // 2 - 20, title, align="r", colour=_WHITE)
    lines = wrap(vendor.name, name, right - left - title.width(sheet.heading) - 40)
    if len(lines) > 2:
        raise TooLongError(vendor.name)
    top = height // 2 - len(lines) * name.line_height // 2
    for line in lines:
        top = page.put(line, left, top, name, colour=_WHITE, label="MERCHANT_NAME")
    sheet.y = height + 34
    end = sheet.contacts(vendor, left, sheet.middle, "ADDRESS_LINE")
    y = sheet.pairs(wording.facts(), height + 34, sheet.middle + 40, right)
    sheet.y = sheet.client(max(y, end) + 30, left, sheet.middle, accent) + 30
    sheet.table(_Look("zebra", accent, _WHITE, gap=9, quantity_first=rng.random() < 0.3), page.height - 330)
    return sheet.finished(16)


def dense(rng: Random, wording: Wording, family: Family) -> Page:
    """Small type, numbered rows down to the foot of the page."""
    sheet = _Sheet(rng, wording, Face(family, rng.choice((13, 14))), rng.randint(40, 60))
    page, face = sheet.page, sheet.face
    y = page.put(sheet.heading, sheet.left, sheet.left, face.of(22, bold=True)) + 6
    end = sheet.party(wording.document.vendor, sheet.middle, sheet.right, "r")
    y = max(end, sheet.facts(y, sheet.left, sheet.middle - 10, "l"))
    sheet.y = sheet.client(y + 12, sheet.left, sheet.middle) + 14
    head: Colour | None = rng.choice((None, (222, 224, 228)))
    look = _Look(
        rng.choice(("full", "rows", "zebra")), head, gap=rng.choice((3, 4)), pad=6, numbered=rng.random() < 0.7
    )
    sheet.table(look, page.height - sheet.left - 190)
    return sheet.finished(6)


def minimal(rng: Random, wording: Wording, family: Family) -> Page:
    """Much white, no rule at all."""
    sheet = _Sheet(rng, wording, Face(family, rng.choice((18, 20))), rng.randint(90, 130))
    page, face, left, right = sheet.page, sheet.face, sheet.left, sheet.right
    y = sheet.party(wording.document.vendor, left, right)
    y = page.put(sheet.heading, left, y + 60, face.of(26, bold=rng.random() < 0.5)) + 12
    y = sheet.facts(y, left, right, "l")
    sheet.y = sheet.client(y + 30, left, right) + 50
    sheet.table(_Look("none"), page.height - 330)
    return sheet.finished(24)


@dataclass(frozen=True, slots=True)
class _Look:
    """How a table is drawn.

    Attributes:
        grid: "full" (lines around every cell), "rows" (a line under each row), "zebra" (every second row tinted) or
            "none".
        head: ground of the heading, or None; `head_ink` its letters' colour.
        gap: pixels above and below the text of a row; `pad` beside it.
        numbered: whether rows start with their position.
    """

    grid: str
    head: Colour | None = None
    head_ink: Colour = INK
    gap: int = 5
    pad: int = 8
    numbered: bool = False
    quantity_first: bool = False


class _Sheet:
    """One A4 page, filled from top to bottom; `y` is where the next block begins."""

    def __init__(self, rng: Random, wording: Wording, face: Face, margin: int) -> None:
        self.rng, self.wording, self.face, self.page = rng, wording, face, Page(*A4)
        self.left = self.y = margin
        self.right, self.middle = self.page.width - margin, self.page.width // 2
        self.heading = wording.say["invoice"]

    def facts(self, y: int, left: int, right: int, align: Align) -> int:
        """Number and dates, each with its name before it."""
        for row in self.wording.facts():
            y = self.page.put_line((_inline(row, align),), y, self.face, left, right)
        return y

    def party(self, party: Party, left: int, right: int, align: Align = "l") -> int:
        """Name in bold, address, phone and tax number from `y` on; returns what is free under it."""
        label, address = ("MERCHANT_NAME", "ADDRESS_LINE") if party is self.wording.document.vendor else ("", "")
        bold = self.face.of(self.face.size, bold=True)
        self.y = self.page.put_line((cell(party.name, label, align),), self.y, bold, left, right)
        return self.contacts(party, left, right, address, align)

    def contacts(self, party: Party, left: int, right: int, label: str, align: Align = "l") -> int:
        """Address, phone and tax number."""
        cells = [cell(line, label, align) for line in party.address]
        for one in (*cells, *(_inline(row, align) for row in self.wording.contacts(party))):
            self.y = self.page.put_line((one,), self.y, self.face, left, right)
        return self.y

    def client(self, y: int, left: int, right: int, colour: Colour = GREY) -> int:
        """To whom it is written."""
        client = self.wording.document.client
        if client is None:
            return y
        self.y = (
            self.page.put(self.wording.say["to"], left, y, self.face.of(self.face.size, bold=True), colour=colour) + 2
        )
        return self.party(client, left, right - 20)

    def pairs(self, rows: Sequence[LabelledRow], y: int, left: int, right: int) -> int:
        """Names at the left, values at the right; a bold row is larger and has air above it."""
        for row in rows:
            face = self.face.of(self.face.size * 5 // 4, bold=True) if row.bold else self.face
            y += self.face.size // 2 if row.bold else 0
            middle = Cell(((row.middle, ""),) if row.middle else (), "r", 0.65)
            y = self.page.put_line((cell(row.name), middle, cell(row.value, row.label, "r")), y, face, left, right)
        return y

    def table(self, look: _Look, bottom: int) -> None:
        """The lines of the document; TooLongError: they would pass `bottom`, or leave no room for the descriptions."""
        page, face, top = self.page, self.face, self.y
        bold = face.of(face.size, bold=True)
        items = self.wording.document.items
        rows = [self.wording.cells(item) for item in items]
        edges = self._edges(rows, bold, look)
        self.y += bold.line_height + 2 * look.gap
        if look.head is not None:
            page.band(self.left, top, self.right, self.y, look.head)
        for key in edges:
            self._cell(self.wording.say[key], top + look.gap, bold, look, edges[key], key, colour=look.head_ink)
        stops = [self.y]
        for index, (row, item) in enumerate(zip(rows, items, strict=True)):
            self._row(row, look, edges, index, labelled=item.total > 0)
            stops.append(self.y)
            if self.y > bottom:
                raise TooLongError(f"{len(rows)} lines")
        self._grid(look, top, stops, [left for left, _ in edges.values()])
        self.y += look.gap

    def _edges(self, rows: Sequence[dict[str, str]], bold: Face, look: _Look) -> dict[str, tuple[int, int]]:
        """Left and right edge of each column in use; the descriptions get what the amounts leave."""
        used = [key for key in _COLUMNS if key == "item" or any(row[key] for row in rows)]
        if not look.quantity_first:
            used = ["item", *(key for key in used if key != "item")]
        widths = {
            key: max(bold.width(self.wording.say[key]), *(self.face.width(row[key]) for row in rows)) + 2 * look.pad
            for key in used
        }
        x = self.left + (self.face.width(str(len(rows))) + 2 * look.pad if look.numbered else 0)
        widths["item"] += self.right - x - sum(widths.values())
        if widths["item"] < 8 * self.face.size:
            raise TooLongError("the amounts leave no room for the descriptions")
        edges = {}
        for key in used:
            edges[key] = (x, x + widths[key])
            x += widths[key]
        return edges

    def _row(
        self, row: dict[str, str], look: _Look, edges: dict[str, tuple[int, int]], index: int, *, labelled: bool
    ) -> None:
        left, right = edges["item"]
        lines = wrap(row["item"], self.face, right - left - 2 * look.pad)
        end = self.y + len(lines) * self.face.line_height + 2 * look.gap
        if look.grid == "zebra" and index % 2:
            self.page.band(self.left, self.y, self.right, end, (238, 241, 245))
        y = self.y + look.gap
        if look.numbered:
            self.page.put(str(index + 1), self.left + look.pad, y, self.face)
        for key, edge in edges.items():
            for n, text in enumerate(lines if key == "item" else [row[key]]):
                label = _COLUMNS[key] if labelled else ""
                self._cell(text, y + n * self.face.line_height, self.face, look, edge, key, label=label)
        self.y = end

    def _cell(
        self,
        text: str,
        y: int,
        face: Face,
        look: _Look,
        edge: tuple[int, int],
        key: str,
        *,
        colour: Colour = INK,
        label: str = "",
    ) -> None:
        if text and key == "item":
            self.page.put(text, edge[0] + look.pad, y, face, colour=colour, label=label)
        elif text:
            self.page.put(text, edge[1] - look.pad, y, face, align="r", colour=colour, label=label)

    def _grid(self, look: _Look, top: int, stops: Sequence[int], lefts: Sequence[int]) -> None:
        """Lines go between the rows, where no text stands."""
        if look.grid == "none":
            return
        across = [top, *stops] if look.grid == "full" else stops if look.grid == "rows" else [stops[-1]]
        for y in across:
            self.page.rule(self.left, y, self.right, y, GREY)
        if look.grid == "full":
            for x in sorted({self.left, *lefts, self.right}):
                self.page.rule(x, top, x, stops[-1], GREY)

    def finished(self, gap: int) -> Page:
        """The page with the totals at the right under the table and a word about payment at its foot.

        Raises:
            TooLongError: the totals pass the end of the page.
        """
        say, face, page = self.wording.say, self.face, self.page
        y = self.pairs(self.wording.totals(), self.y + gap, self.right - self.rng.randint(330, 400), self.right)
        if self.wording.document.terms.reverse:
            y = page.put_line((cell(say["reverse"]),), y + face.size, face, self.left, self.right)
        self._foot(y)
        if y > page.height - 20:
            raise TooLongError(f"{y} of {page.height} pixels")
        return page

    def _foot(self, y: int) -> None:
        """Payment terms, the page's number and the bank, where there is room below `y`."""
        small, rng = self.face.of(self.face.size - 2), self.rng
        terms = self.wording.say["terms"] if rng.random() < 0.7 else ""
        lines: list[tuple[Cell, ...]] = [(cell(terms), cell("1/1" if rng.random() < 0.25 else "", "", "r"))]
        if rng.random() < 0.5:
            lines.insert(0, (cell(fill(rng, pick(rng, self.wording.locale.bank))),))
        foot = self.page.height - self.left - 30 - small.line_height
        for line in lines if y + small.line_height < foot else ():
            foot = self.page.put_line(line, foot, small, self.left, self.right)


def _inline(row: LabelledRow, align: Align) -> Cell:
    """A name with its value right behind it."""
    name = row.name if row.name.endswith(".") else f"{row.name}:"
    return Cell(((name, ""), (row.value, row.label)), align, {"l": 0.0, "c": 0.5, "r": 1.0}[align])
