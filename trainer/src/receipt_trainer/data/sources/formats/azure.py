"""Azure: Document Intelligence (3.x, 4.0), the Read API before it (3.x `readResults`, 2.0 `recognitionResults`), Image
Analysis 4.0 (`readResult`).

Pages are in pixels or inches. Fields of the prebuilt receipt and invoice models are labels of their words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from receipt_trainer.data.page_words import DocumentWords
from receipt_trainer.data.sources.clean import number
from receipt_trainer.data.sources.formats.pages import (
    FileReading,
    Format,
    PageBuilder,
    at,
    box_of,
    document,
    either,
    labels_of,
    points_of,
    records,
    whole,
)

PIXELS_PER_INCH: Final = 200.0
"""Pages in inches (PDF) become pixels of a scan of this density."""

LABELS: Final = {
    "merchantname": "MERCHANT_NAME",
    "vendorname": "MERCHANT_NAME",
    "merchantphonenumber": "PHONE_NUMBER",
    "merchantaddress": "ADDRESS_LINE",
    "vendoraddress": "ADDRESS_LINE",
    "transactiondate": "DATE",
    "invoicedate": "DATE",
    "transactiontime": "TIME",
    "items.description": "PRODUCT_NAME",
    "items.name": "PRODUCT_NAME",
    "items.quantity": "QUANTITY",
    "items.price": "UNIT_PRICE",
    "items.unitprice": "UNIT_PRICE",
    "items.totalprice": "LINE_TOTAL",
    "items.amount": "LINE_TOTAL",
    "subtotal": "SUBTOTAL",
    "totaltax": "TAX",
    "tax": "TAX",
    "taxdetails.amount": "TAX",
    "total": "GRAND_TOTAL",
    "invoicetotal": "GRAND_TOTAL",
}
"""Fields of prebuilt-receipt and prebuilt-invoice by the core label that means the same."""

_CORNERS: Final = ("polygon", "boundingPolygon", "bounding_polygon", "boundingBox", "bounding_box")
_DEEP: Final = 6  # levels of fields in fields


def is_azure(value: Any) -> bool:
    """Whether it is an answer of an analysis, or what its SDKs make of one."""
    return any(isinstance(each, list) for each in _results(value))


def _results(value: Any) -> tuple[Any, Any, Any]:
    """Pages of the current form, of Read 3.x and of Read 2.0; each None where the answer is not of that form."""
    inner = either(value, "analyzeResult", "analyze_result")
    inner = value if inner is None else inner
    blocks = at(either(value, "readResult", "read_result"), "blocks")
    if isinstance(blocks, list):
        lines = [line for block in records(blocks) for line in records(block.get("lines"))]
        size = at(value, "metadata")
        return [{"lines": lines, **(size if isinstance(size, dict) else {})}], None, None
    pages = at(inner, "pages")
    new = pages if isinstance(pages, list) and either(at(pages, 0), "pageNumber", "page_number") is not None else None
    return new, either(inner, "readResults", "read_results"), either(value, "recognitionResults", "recognition_results")


def read(reading: FileReading, value: Any) -> Iterator[DocumentWords]:
    """One document."""
    new, old, oldest = _results(value)
    pages: dict[int, PageBuilder] = {}
    spans: dict[int, list[tuple[int, int]]] = {}
    for n, given in enumerate(records(new if new is not None else old if old is not None else oldest), start=1):
        page = _page(reading, given, n)
        if page.number in pages:
            page.number = max(pages) + 1
        pages[page.number] = page
        lines = records(given.get("lines"))
        own = records(given.get("words"))
        for word in own or [word for line in lines for word in records(line.get("words")) or [line]]:
            points = points_of(either(word, *_CORNERS))
            page.direct(points)
            before, is_line = len(page.words), word in lines
            sure = number(word.get("confidence"))
            page.add(either(word, "content", "text"), points, confidence=sure, is_line=is_line)
            if len(page.words) > before and not is_line:
                start = whole(at(word, "span", "offset"), -1)
                spans.setdefault(page.number, []).append((start, start + whole(at(word, "span", "length"), 0)))
    inner = either(value, "analyzeResult", "analyze_result")
    for found in records(at(value if inner is None else inner, "documents")):
        for name, field in _fields(found.get("fields"), "", _DEEP):
            _mark(name, field, pages, spans)
    yield document(reading.name, pages.values() or [PageBuilder(reading, reading.name)])


def _page(reading: FileReading, given: dict[str, Any], otherwise: int) -> PageBuilder:
    page_number = max(1, whole(either(given, "pageNumber", "page_number", "page"), otherwise))
    scale = PIXELS_PER_INCH if given.get("unit") == "inch" else 1.0
    width, height = number(given.get("width")), number(given.get("height"))
    return PageBuilder(reading, reading.name, page_number, width, height, scale=(scale, scale))


def _fields(fields: Any, prefix: str, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Fields with a text, by name; those in lists and objects as `Items.Description`."""
    for name, field in (fields if isinstance(fields, dict) else {}).items():
        if not isinstance(field, dict) or not depth:
            continue
        called = f"{prefix}{name}"
        rows = either(field, "valueArray", "value_array")
        inner = either(field, "valueObject", "value_object")
        for row in records(rows):
            yield from _fields(either(row, "valueObject", "value_object"), f"{called}.", depth - 1)
        if isinstance(inner, dict):
            yield from _fields(inner, f"{called}.", depth - 1)
        elif rows is None:
            yield called, field


def _mark(
    name: str, field: dict[str, Any], pages: dict[int, PageBuilder], spans: dict[int, list[tuple[int, int]]]
) -> None:
    """Label the words of a field: those in its spans of the text, else those in its regions on the pages."""
    labels = labels_of(name, LABELS, "PENDING", "azure")
    for region in records(either(field, "boundingRegions", "bounding_regions")):
        page = pages.get(whole(either(region, "pageNumber", "page_number"), 0))
        polygon = points_of(either(region, *_CORNERS))
        if page is None or polygon is None:
            continue
        parts = [
            (start, start + whole(each.get("length"), 0))
            for each in records(field.get("spans"))
            if (start := whole(each.get("offset"), -1)) >= 0
        ]
        inside = [
            n
            for n, (start, end) in enumerate(spans.get(page.number, []))
            if any(first <= start < last and end <= last for first, last in parts)
        ]
        if inside:
            page.mark_words(inside, labels)
        else:
            page.mark(box_of(polygon), labels)


FORMAT: Final = Format(
    name="azure",
    expected="analyzeResult with pages (pageNumber, words) or readResults, or recognitionResults, or readResult",
    is_json=is_azure,
    read_json=read,
)
