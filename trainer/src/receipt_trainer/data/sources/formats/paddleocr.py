"""PaddleOCR: Label.txt of PPOCRLabel, JSON of PaddleX (`rec_texts`), lists of quads and texts, as RapidOCR's, too.

The texts are lines and are split at their spaces. Labels (`key_cls`) are those of people. None of these says how large
the page is: the image beside the file does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from receipt_trainer.data.page_words import DocumentWords
from receipt_trainer.data.problems import ProblemKind
from receipt_trainer.data.sources.clean import is_name, number
from receipt_trainer.data.sources.formats.pages import (
    FileReading,
    Format,
    PageBuilder,
    at,
    document,
    items,
    labels_of,
    points_of,
    text_of,
    whole,
)

LABELS: Final = {
    "store_name_value": "MERCHANT_NAME",
    "tel_value": "PHONE_NUMBER",
    "store_addr_value": "ADDRESS_LINE",
    "date_value": "DATE",
    "time_value": "TIME",
    "prod_item_value": "PRODUCT_NAME",
    "prod_quantity_value": "QUANTITY",
    "prod_price_value": "LINE_TOTAL",
    "subtotal_value": "SUBTOTAL",
    "tax_value": "TAX",
    "total_value": "GRAND_TOTAL",
    "company": "MERCHANT_NAME",
    "address": "ADDRESS_LINE",
    "date": "DATE",
    "total": "GRAND_TOTAL",
}
"""Classes of WildReceipt and SROIE, which PaddleOCR's models of key information are trained with, by core label."""


def is_label_txt(text: str) -> bool:
    """Whether its first line is an image's name, a tab and a list of objects with a transcription."""
    name, tab, rest = text.lstrip("\ufeff\n").partition("\n")[0].partition("\t")
    return bool(tab and name) and rest.lstrip().startswith("[") and ('"transcription"' in rest or rest.strip() == "[]")


def read_label_txt(reading: FileReading, text: str) -> Iterator[DocumentWords]:
    """A document a line."""
    for row, line in enumerate(text.split("\n"), start=1):
        image, _, rest = line.partition("\t")
        if not line.strip():
            continue
        try:
            boxes = json.loads(rest)
        except (ValueError, RecursionError) as error:
            reading.problems.add(ProblemKind.BAD_RECORD, reading.path.name, f"line {row}", str(error))
            continue
        page = PageBuilder(reading, _stem(image) or f"{reading.name} {row}", image=image.strip())
        for each in items(boxes):
            label = at(each, "key_cls")
            page.add(
                at(each, "transcription"), points_of(at(each, "points")), labels=labels_of(label, LABELS), is_line=True
            )
        yield document(page.document, [page])


def is_result(value: Any) -> bool:
    """Whether it is a result of PaddleX, or a list of quads with their texts, or a list of pages of such."""
    if isinstance(at(value, "rec_texts"), list) or isinstance(at(value, "res", "rec_texts"), list):
        return True
    return _is_line(at(value, 0)) or _is_line(at(value, 0, 0))


def _is_line(value: Any) -> bool:
    if isinstance(value, dict):
        return text_of(value.get("txt")) != "" and isinstance(value.get("box"), list)
    return points_of(at(value, 0)) is not None and any(
        isinstance(each, str) for each in (at(value, 1), at(value, 1, 0))
    )


def read_result(reading: FileReading, value: Any) -> Iterator[DocumentWords]:
    """One document."""
    if isinstance(value, dict):
        yield _of_columns(reading, value["res"] if isinstance(value.get("res"), dict) else value)
        return
    pages = [value] if _is_line(at(value, 0)) else items(value)
    built = []
    for n, lines in enumerate(pages, start=1):
        page = PageBuilder(reading, reading.name, n)
        for line in items(lines):
            if isinstance(line, dict):
                text, quad, sure = line.get("txt"), line.get("box"), line.get("score")
            else:
                nested = isinstance(at(line, 1), list)
                text, sure = (at(line, 1, 0), at(line, 1, 1)) if nested else (at(line, 1), at(line, 2))
                quad = at(line, 0)
            page.add(text, points_of(quad), confidence=number(sure), is_line=True)
        built.append(page)
    yield document(reading.name, built)


def _of_columns(reading: FileReading, value: dict[str, Any]) -> DocumentWords:
    texts, scores = items(value.get("rec_texts")), items(value.get("rec_scores"))
    boxes = next(
        (found for key in ("rec_polys", "rec_boxes", "dt_polys") if len(found := items(value.get(key))) == len(texts)),
        [],
    )
    image = text_of(value.get("input_path"))
    page = PageBuilder(reading, reading.name, whole(value.get("page_index"), 0) + 1, image=image)
    for n, text in enumerate(texts):
        page.add(text, points_of(at(boxes, n)), confidence=number(at(scores, n)), is_line=True)
    return document(reading.name, [page])


def _stem(image: str) -> str:
    name = image.strip().replace("\\", "/").rpartition("/")[2]
    stem = name.rpartition(".")[0] or name
    return stem if is_name(stem) else ""


FORMAT: Final = Format(
    name="paddleocr",
    expected="lines of an image's name, a tab and a list with transcription and points; or rec_texts with rec_polys; "
    "or a list of quads with text and score",
    is_json=is_result,
    read_json=read_result,
    is_text=is_label_txt,
    read_text=read_label_txt,
)
