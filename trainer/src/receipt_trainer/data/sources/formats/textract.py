"""Amazon Textract: DetectDocumentText, AnalyzeDocument and AnalyzeExpense, as the API or its command line answers.

A list of answers (the parts that NextToken gives) is one document. Boxes are parts of the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from receipt_trainer.data.page_words import DocumentWords, PixelBox
from receipt_trainer.data.sources.clean import number
from receipt_trainer.data.sources.formats.pages import (
    FileReading,
    Format,
    Labels,
    PageBuilder,
    at,
    box_of,
    corners,
    document,
    items,
    labels_of,
    points_of,
    records,
    text_of,
    whole,
)

LABELS: Final = {
    "vendor_name": "MERCHANT_NAME",
    "vendor_phone": "PHONE_NUMBER",
    "vendor_address": "ADDRESS_LINE",
    "invoice_receipt_date": "DATE",
    "item": "PRODUCT_NAME",
    "quantity": "QUANTITY",
    "unit_price": "UNIT_PRICE",
    "price": "LINE_TOTAL",
    "subtotal": "SUBTOTAL",
    "tax": "TAX",
    "total": "GRAND_TOTAL",
    "expense_row": "O",
    "other": "O",
}
"""Types of AnalyzeExpense by the core label that means the same; NAME and parts of addresses by their group."""

_OF_ANY_PARTY: Final = {"name": "MERCHANT_NAME"} | dict.fromkeys(
    ("address", "address_block", "street", "city", "state", "zip_code"), "ADDRESS_LINE"
)


def is_textract(value: Any) -> bool:
    """Whether it is an answer, or a list of answers."""
    answers = items(value) if isinstance(value, list) else [value]
    return bool(answers) and all(
        any(at(block, "BlockType") for block in items(at(answer, "Blocks"))[:5])
        or isinstance(at(answer, "ExpenseDocuments"), list)
        for answer in answers
    )


def read(reading: FileReading, value: Any) -> Iterator[DocumentWords]:
    """One document."""
    pages: dict[int, PageBuilder] = {}
    for answer in records(value if isinstance(value, list) else [value]):
        expenses = records(answer.get("ExpenseDocuments"))
        for blocks in (answer.get("Blocks"), *(expense.get("Blocks") for expense in expenses)):
            for block in records(blocks):
                if block.get("BlockType") == "WORD":
                    page, points = _page(reading, pages, block.get("Page")), _points(block)
                    page.add(block.get("Text"), points, confidence=_sure(block.get("Confidence")))
                    page.direct(points)
        fields = [field for expense in expenses for field in _fields(expense)]
        if not any(page.words for page in pages.values()):  # older answers have no Blocks
            _add_fields(reading, pages, fields)
        for field in fields:
            area, labels = _area(field.get("ValueDetection")), _labels(field)
            if area is not None and labels:
                _page(reading, pages, field.get("PageNumber")).mark(area, labels)
    yield document(reading.name, pages.values() or [PageBuilder.of_fractions(reading, reading.name)])


def _add_fields(reading: FileReading, pages: dict[int, PageBuilder], fields: list[dict[str, Any]]) -> None:
    """Put the words of fields on their pages: once where two fields say the same, and no rows of fields."""
    seen = set()
    for field in fields:
        is_row = at(field, "Type", "Text") == "EXPENSE_ROW"
        for part in () if is_row else (field.get("LabelDetection"), field.get("ValueDetection")):
            text, points = text_of(at(part, "Text")).strip(), _points(part)
            page = _page(reading, pages, field.get("PageNumber"))
            place = (page.number, text, tuple(round(side, 3) for side in box_of(points or ((0.0, 0.0),))))
            if text and place not in seen:
                seen.add(place)
                page.add(text, points, confidence=_sure(at(part, "Confidence")), is_line=True)


def _page(reading: FileReading, pages: dict[int, PageBuilder], given: Any) -> PageBuilder:
    page = max(1, whole(given, 1))
    return pages.setdefault(page, PageBuilder.of_fractions(reading, reading.name, page))


def _fields(expense: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from records(expense.get("SummaryFields"))
    for group in records(expense.get("LineItemGroups")):
        for item in records(group.get("LineItems")):
            yield from records(item.get("LineItemExpenseFields"))


def _labels(field: dict[str, Any]) -> Labels:
    name = text_of(at(field, "Type", "Text"))
    parties = {
        kind for group in records(field.get("GroupProperties")) for kind in map(text_of, items(group.get("Types")))
    }
    table = LABELS | _OF_ANY_PARTY if any(kind.startswith("VENDOR") for kind in parties) else LABELS
    return labels_of(name, table, "PENDING", "textract")


def _points(block: Any) -> list[tuple[float, float]] | None:
    polygon = points_of(at(block, "Geometry", "Polygon"))
    if polygon is not None and len(polygon) == 4:
        return polygon  # from the text's own top left
    box = at(block, "Geometry", "BoundingBox")
    x, y, width, height = (number(at(box, side)) for side in ("Left", "Top", "Width", "Height"))
    if x is None or y is None or width is None or height is None:
        return None
    return corners(x, y, width, height)


def _area(detection: Any) -> PixelBox | None:
    points = _points(detection)
    return None if points is None else box_of(points)


def _sure(percent: Any) -> float | None:
    given = number(percent)
    return None if given is None else given / 100


FORMAT: Final = Format(
    name="textract",
    expected="Blocks with a BlockType, or ExpenseDocuments (or a list of such answers)",
    is_json=is_textract,
    read_json=read,
)
