"""docTR's `Document.export()`: pages, blocks, lines, words, with places as parts of the page and its size in pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from receipt_trainer.data.page_words import DocumentWords
from receipt_trainer.data.sources.clean import number
from receipt_trainer.data.sources.formats.pages import (
    GRID,
    FileReading,
    Format,
    PageBuilder,
    at,
    document,
    items,
    points_of,
    records,
    whole,
)


def is_export(value: Any) -> bool:
    """Whether its pages have dimensions and blocks."""
    page = at(value, "pages", 0)
    return isinstance(at(page, "dimensions"), list) and isinstance(at(page, "blocks"), list)


def read(reading: FileReading, value: Any) -> Iterator[DocumentWords]:
    """One document."""
    pages = []
    for n, given in enumerate(records(at(value, "pages"))):
        height, width = (number(at(given, "dimensions", side)) for side in (0, 1))
        page = PageBuilder.of_fractions(reading, reading.name, whole(given.get("page_idx"), n) + 1)
        page.scale = (width or GRID, height or GRID)
        for block in records(given.get("blocks")):
            for line in records(block.get("lines")):
                for word in records(line.get("words")):
                    page.add(word.get("value"), _points(word), confidence=number(word.get("confidence")))
        pages.append(page)
    yield document(reading.name, pages)


def _points(word: dict[str, Any]) -> list[tuple[float, float]] | None:
    """Two corners of an upright word, or the four of one that is not."""
    return points_of(items(word.get("geometry")))


FORMAT: Final = Format(
    name="doctr",
    expected="pages with dimensions and blocks",
    is_json=is_export,
    read_json=read,
)
