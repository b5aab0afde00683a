"""FUNSD (Jaume et al. 2019): `annotations/*.json` with a form of entities and their words, images beside.

The kinds of entities (question, answer, header) are no fields of receipts: they are labels of their own names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from receipt_trainer.data.page_words import DocumentWords
from receipt_trainer.data.sources.formats.pages import (
    FileReading,
    Format,
    Labels,
    PageBuilder,
    at,
    document,
    items,
    labels_of,
    points_of,
    records,
    split_of,
    text_of,
)

LABELS: Final = {"question": "QUESTION", "answer": "ANSWER", "header": "HEADER", "other": "O"}


def is_form(value: Any) -> bool:
    """Whether it has a form of entities with boxes and words."""
    first = at(value, "form", 0)
    return isinstance(at(first, "words"), list) and "label" in (first if isinstance(first, dict) else {})


def read(reading: FileReading, value: Any) -> Iterator[DocumentWords]:
    """One document of one page."""
    page = PageBuilder(reading, reading.name)
    for entity in records(at(value, "form")):
        labels: Labels = labels_of(entity.get("label"), LABELS)
        words = [word for word in items(entity.get("words")) if text_of(at(word, "text")).strip()]
        for word in words:
            page.add(at(word, "text"), points_of(at(word, "box")), labels=labels)
        if not words and text_of(entity.get("text")).strip():
            page.add(entity.get("text"), points_of(entity.get("box")), labels=labels, is_line=True)
    yield document(page.document, [page], source="funsd", split=split_of(reading.path))


FORMAT: Final = Format(
    name="funsd",
    expected="form, a list of entities with box, label and words",
    is_json=is_form,
    read_json=read,
)
