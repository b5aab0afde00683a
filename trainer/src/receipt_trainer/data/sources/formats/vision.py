"""Google Cloud Vision: answers of images:annotate and files:asyncBatchAnnotate, in camelCase or snake_case.

Protobuf's JSON leaves zeros out: a corner without x lies at x = 0. A word goes on in the next where no space or break
stands between the two, as `12` `.` `50`.
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
    corners,
    document,
    either,
    items,
    points_of,
    records,
    text_of,
    whole,
)

_FULL: Final = ("fullTextAnnotation", "full_text_annotation")
_FLAT: Final = ("textAnnotations", "text_annotations")
_WHOLE: Final = ("normalizedVertices", "normalized_vertices")


def is_vision(value: Any) -> bool:
    """Whether it is an answer for one image, or a list of such under `responses`."""
    return any(either(answer, *_FULL, *_FLAT) is not None for answer in _answers(value))


def _answers(value: Any) -> list[Any]:
    given = at(value, "responses")
    return given if isinstance(given, list) else [value]


def read(reading: FileReading, value: Any) -> Iterator[DocumentWords]:
    """A document; each image or page that was asked about is one of its pages."""
    pages: list[PageBuilder] = []
    for answer in _answers(value):
        blocks = records(at(either(answer, *_FULL), "pages"))
        said = whole(either(at(answer, "context"), "pageNumber", "page_number"), 0)
        for page in blocks:
            pages.append(_page(reading, page, said if said and len(blocks) == 1 else len(pages) + 1))
        if not blocks and either(answer, *_FLAT) is not None:
            page_words = PageBuilder(reading, reading.name, len(pages) + 1)
            for word in records(either(answer, *_FLAT))[1:]:  # the first is the whole text
                points = points_of(at(either(word, "boundingPoly", "bounding_poly"), "vertices"))
                page_words.add(word.get("description"), points)
                page_words.direct(points)
            pages.append(page_words)
    yield document(reading.name, pages or [PageBuilder(reading, reading.name)])


def _page(reading: FileReading, given: dict[str, Any], page_number: int) -> PageBuilder:
    width, height = number(given.get("width")), number(given.get("height"))
    page = PageBuilder(reading, reading.name, page_number, width or None, height or None)
    for block in records(given.get("blocks")):
        for paragraph in records(block.get("paragraphs")):
            _paragraph(page, records(paragraph.get("words")))
    return page


def _paragraph(page: PageBuilder, words: list[dict[str, Any]]) -> None:
    """Put a paragraph's words on the page, those joined that nothing parts."""
    breaks = [_break(word) for word in words]
    has_breaks = any(breaks)
    text, points, sure = "", [], []  # type: tuple[str, list[tuple[float, float]], list[float]]
    for n, word in enumerate(words):
        own = _points(word, page)
        page.direct(own)
        confidence = number(word.get("confidence"))
        text += "".join(text_of(symbol.get("text")) for symbol in records(word.get("symbols")))
        points += own or []
        sure += [] if confidence is None else [confidence]
        if breaks[n] or not has_breaks or n == len(words) - 1 or own is None:
            x0, y0, x1, y1 = box_of(points) if points else (0.0, 0.0, 0.0, 0.0)
            page.add(
                text,
                corners(x0, y0, x1 - x0, y1 - y0) if points and own is not None else None,
                confidence=min(sure, default=None),
            )
            text, points, sure = "", [], []


def _break(word: dict[str, Any]) -> bool:
    last = at(word.get("symbols"), -1)
    found = either(at(last, "property"), "detectedBreak", "detected_break")
    return either(found, "type", "type_") not in (None, 0, "UNKNOWN")


def _points(word: dict[str, Any], page: PageBuilder) -> list[tuple[float, float]] | None:
    box = either(word, "boundingBox", "bounding_box")
    vertices = items(at(box, "vertices"))
    if vertices:
        return points_of(vertices)
    parts = points_of(either(box, *_WHOLE))
    if parts is None:
        return None
    if page.width is None or page.height is None:
        page.width, page.height, page.scale = 1.0, 1.0, (1000.0, 1000.0)
    return [(x * page.width, y * page.height) for x, y in parts]


FORMAT: Final = Format(
    name="vision",
    expected="fullTextAnnotation with pages, or textAnnotations; alone or in responses",
    is_json=is_vision,
    read_json=read,
)
