"""CORD (Park et al. 2019): `json/*.json` with valid_line, or rows whose `ground_truth` is such JSON as a text.

Only labelled words are there. Keys (`is_key`) have no label.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from receipt_trainer.data.page_words import DocumentWords
from receipt_trainer.data.sources.clean import number
from receipt_trainer.data.sources.formats.pages import (
    FileReading,
    Format,
    PageBuilder,
    at,
    document,
    labels_of,
    records,
    split_of,
    text_of,
    whole,
)

LABELS: Final = {
    "menu.nm": "PRODUCT_NAME",
    "menu.sub.nm": "PRODUCT_NAME",
    "menu.sub_nm": "PRODUCT_NAME",
    "menu.cnt": "QUANTITY",
    "menu.sub.cnt": "QUANTITY",
    "menu.sub_cnt": "QUANTITY",
    "menu.unitprice": "UNIT_PRICE",
    "menu.sub.unitprice": "UNIT_PRICE",
    "menu.sub_unitprice": "UNIT_PRICE",
    "menu.price": "LINE_TOTAL",
    "menu.sub.price": "LINE_TOTAL",
    "menu.sub_price": "LINE_TOTAL",
    "sub_total.subtotal_price": "SUBTOTAL",
    "sub_total.tax_price": "TAX",
    "total.total_price": "GRAND_TOTAL",
}
"""Categories of CORD by the core label that means the same."""


def is_cord(value: Any) -> bool:
    """Whether it, or the text of its ground truth, has valid_line."""
    return isinstance(at(_truth(value), "valid_line"), list)


def _truth(value: Any) -> Any:
    inner = at(value, "ground_truth")
    if isinstance(inner, str):
        try:
            return json.loads(inner)
        except (ValueError, RecursionError):
            return None
    return value


def read(reading: FileReading, value: Any) -> Iterator[DocumentWords]:
    """One document of one page."""
    truth = _truth(value)
    size = at(truth, "meta", "image_size")
    split = text_of(at(truth, "meta", "split"))
    name, row = reading.name, text_of(at(value, "file_name")) or at(truth, "meta", "image_id")
    if len(reading.values) > 1:
        name = str(row) if isinstance(row, str | int) else name
    page = PageBuilder(reading, name, 1, number(at(size, "width")), number(at(size, "height")))
    for line in records(at(truth, "valid_line")):
        category = line.get("category")
        group = line.get("group_id")
        for word in records(line.get("words")):
            is_key = bool(word.get("is_key"))
            extra = {"source_label": f"{category}{':key' if is_key else ''}"}
            page.add(
                word.get("text"),
                _points(word.get("quad")),
                line=whole(word.get("row_id"), 0) if number(word.get("row_id")) is not None else None,
                labels=() if is_key else labels_of(category, LABELS),
                extra=extra | ({"group": group} if isinstance(group, int) else {}),
            )
    _number_rows(page)
    yield document(name, [page], source="cord", split=split or split_of(reading.path))


def _number_rows(page: PageBuilder) -> None:
    """Number rows from the top by their middle: `row_id` only tells them apart."""
    middles: dict[int, list[float]] = {}
    for word in page.words:
        if word.line is not None:
            middles.setdefault(word.line, []).append((word.box[1] + word.box[3]) / 2)
    order = sorted(middles, key=lambda row: sum(middles[row]) / len(middles[row]))
    numbers = {row: n for n, row in enumerate(order)}
    page.words = [replace(word, line=None if word.line is None else numbers[word.line]) for word in page.words]


def _points(quad: Any) -> list[tuple[float, float]] | None:
    found = []
    for corner in "1234":
        x, y = number(at(quad, f"x{corner}")), number(at(quad, f"y{corner}"))
        if x is None or y is None:
            return None
        found.append((x, y))
    return found


FORMAT: Final = Format(
    name="cord",
    expected="valid_line with words and their quads (or such JSON as the text of ground_truth)",
    is_json=is_cord,
    read_json=read,
)
