"""Parts that several templates put on a page: tables, pairs of label and value, parties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from receipt_trainer.models.paddleocr_vl.synthetic.document import Party
from receipt_trainer.models.paddleocr_vl.synthetic.fonts import Face
from receipt_trainer.models.paddleocr_vl.synthetic.page import GREY, INK, Colour, Page, TooLongError, wrap
from receipt_trainer.models.paddleocr_vl.synthetic.words import Row, Wording

COLUMNS: Final = ("quantity", "price", "amount")
LABELS: Final = {"item": "PRODUCT_NAME", "quantity": "QUANTITY", "price": "UNIT_PRICE", "amount": "LINE_TOTAL"}


@dataclass(frozen=True, slots=True)
class TableLook:
    """How a table is drawn.

    Attributes:
        left, right: its edges in pixels; texts keep `pad` from them.
        grid: "full" (lines around every cell), "rows" (a line under each row), "zebra" (every second row tinted) or
            "none".
        head: ground of the heading, or None; `head_ink` its letters' colour.
        gap: pixels above and below the text of a row.
        numbered: whether rows start with their position.
    """

    left: int
    right: int
    grid: str
    head: Colour | None = None
    head_ink: Colour = INK
    line: Colour = GREY
    gap: int = 5
    pad: int = 8
    numbered: bool = False
    quantity_first: bool = False


def put_table(page: Page, formatting: Wording, y: int, face: Face, look: TableLook, bottom: int) -> int:
    """The lines of the document as a table that starts at y.

    Returns:
        The first free pixel under it.

    Raises:
        TooLongError: it would pass `bottom`.
    """
    bold = Face(face.family, face.size, bold=True)
    rows = [formatting.cells(item) for item in formatting.document.items]
    heads = {key: formatting.label[key] for key in LABELS}
    used = [key for key in COLUMNS if any(row[key] for row in rows)]
    widths = {key: max(bold.width(heads[key]), *(face.width(row[key]) for row in rows)) + 2 * look.pad for key in used}
    order = ["quantity", "item", "price", "amount"] if look.quantity_first else ["item", *COLUMNS]
    order = [key for key in order if key == "item" or key in used]
    number_width = face.width(str(len(rows))) + 2 * look.pad if look.numbered else 0
    widths["item"] = look.right - look.left - sum(widths.values()) - number_width
    if widths["item"] < 8 * face.size:
        raise TooLongError("the amounts leave no room for the descriptions")
    edges, x = {}, look.left + number_width
    for key in order:
        edges[key] = (x, x + widths[key])
        x += widths[key]
    top = y
    y = _head(page, y, bold, look, edges, heads)
    stops = [y]
    for index, row in enumerate(rows):
        y = _row(page, y, face, look, edges, row, str(index + 1) if look.numbered else "", index)
        stops.append(y)
        if y > bottom:
            raise TooLongError(f"{len(rows)} lines")
    _grid(page, look, top, stops, [*(left for left, _ in edges.values())])
    return y + look.gap


def _head(
    page: Page, y: int, face: Face, look: TableLook, edges: dict[str, tuple[int, int]], heads: dict[str, str]
) -> int:
    height = face.line_height + 2 * look.gap
    if look.head is not None:
        page.band(look.left, y, look.right, y + height, look.head)
    for key, edge in edges.items():
        _cell(page, heads[key], y + look.gap, face, look, edge, key, colour=look.head_ink)
    return y + height


def _row(
    page: Page,
    y: int,
    face: Face,
    look: TableLook,
    edges: dict[str, tuple[int, int]],
    row: dict[str, str],
    position: str,
    index: int,
) -> int:
    lines = wrap(row["item"], face, edges["item"][1] - edges["item"][0] - 2 * look.pad)
    end = y + len(lines) * face.line_height + 2 * look.gap
    if look.grid == "zebra" and index % 2:
        page.band(look.left, y, look.right, end, (238, 241, 245))
    y += look.gap
    if position:
        page.put(position, look.left + look.pad, y, face)
    for key, edge in edges.items():
        if key != "item" and row[key]:
            _cell(page, row[key], y, face, look, edge, key, label=LABELS[key])
    for line in lines:
        page.put(line, edges["item"][0] + look.pad, y, face, label=LABELS["item"])
        y += face.line_height
    return end


def _cell(
    page: Page,
    text: str,
    y: int,
    face: Face,
    look: TableLook,
    edge: tuple[int, int],
    key: str,
    *,
    colour: Colour = INK,
    label: str = "",
) -> None:
    left, right = edge
    if key == "item":
        page.put(text, left + look.pad, y, face, colour=colour, label=label)
    else:
        page.put(text, right - look.pad, y, face, align="r", colour=colour, label=label)


def _grid(page: Page, look: TableLook, top: int, stops: Sequence[int], lefts: Sequence[int]) -> None:
    """Lines go between the rows, where no text stands."""
    if look.grid == "none":
        return
    across = [top, *stops] if look.grid == "full" else stops if look.grid == "rows" else [stops[-1]]
    for y in across:
        page.rule(look.left, y, look.right, y, look.line)
    if look.grid == "full":
        for x in sorted({look.left, *lefts, look.right}):
            page.rule(x, top, x, stops[-1], look.line)


def put_pairs(page: Page, rows: Sequence[Row], y: int, face: Face, left: int, right: int) -> int:
    """Labels at the left, values at the right; a bold row is larger and has air above it.

    Raises:
        TooLongError: a label and its value do not fit beside each other.
    """
    large = Face(face.family, face.size * 5 // 4, bold=True)
    for row in rows:
        drawn = large if row.bold else face
        if drawn.width(row.name) + drawn.width(row.value) + face.size > right - left:
            raise TooLongError(f"{row.name} {row.value}")
        y += face.size // 2 if row.bold else 0
        page.put(row.name, left, y, drawn)
        y = page.put(row.value, right, y, drawn, align="r", label=row.label)
    return y


def put_inline(page: Page, row: Row, x: int, y: int, face: Face, *, align: str = "l", mark: str = ":") -> int:
    """A label with its value right behind it."""
    name = f"{row.name}{'' if row.name.endswith('.') else mark} "
    width = face.width(name) + face.width(row.value)
    left = x if align == "l" else x - width if align == "r" else x - width // 2
    page.put(name.rstrip(), left, y, face)
    return page.put(row.value, left + face.width(name), y, face, label=row.label)


def put_party(
    page: Page,
    party: Party,
    contacts: Sequence[Row],
    x: int,
    y: int,
    face: Face,
    width: int,
    *,
    align: str = "l",
    labels: tuple[str, str] = ("MERCHANT_NAME", "ADDRESS_LINE"),
) -> int:
    """Name in bold, address, phone and tax number, each on lines of their own; `labels` of name and address.

    Raises:
        TooLongError: a line is wider than `width`.
    """
    bold = Face(face.family, face.size, bold=True)
    for line in wrap(party.name, bold, width):
        y = page.put(line, x, y, bold, align=align, label=labels[0])
    for line in party.address:
        for part in wrap(line, face, width):
            y = page.put(part, x, y, face, align=align, label=labels[1])
    for row in contacts:
        if face.width(f"{row.name}: {row.value}") > width:
            raise TooLongError(row.value)
        y = put_inline(page, row, x, y, face, align=align)
    return y
