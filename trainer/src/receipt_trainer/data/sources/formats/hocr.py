"""hOCR (Tesseract, OCRopus, Internet Archive): HTML with `ocr_page`, `ocr_line`, `ocrx_word`; pixels, several pages.

Lines without words in them are split at their spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final

from receipt_trainer.data.page_words import DocumentWords
from receipt_trainer.data.problems import ProblemKind
from receipt_trainer.data.sources.formats.pages import FileReading, Format, PageBuilder, document, points_of

_PAGE: Final = "ocr_page"
_WORDS: Final = frozenset({"ocrx_word", "ocr_word"})
_LINES: Final = frozenset({"ocr_line", "ocr_header", "ocr_caption", "ocr_textfloat", "ocrx_line"})
_EMPTY: Final = frozenset({"br", "hr", "img", "meta", "link", "input", "wbr"})
_BBOX = re.compile(r"(?:^|[;\s])bbox((?:\s+-?\d{1,7}(?:\.\d+)?){4})")
_SURE = re.compile(r"(?:^|[;\s])x_wconf\s+(\d{1,3}(?:\.\d+)?)")
_IMAGE = re.compile(r"(?:^|[;\s])image\s+[\"']?([^\"';]+)")


def is_hocr(text: str) -> bool:
    """Whether a page of hOCR is announced or begins."""
    return "<" in text and ("ocr_page" in text or "ocr-system" in text)


@dataclass(slots=True)
class _Open:
    """An element that is open: its tag, what it is in hOCR, its title and the text in it."""

    tag: str
    kind: str
    title: str
    text: list[str] = field(default_factory=list)
    has_words: bool = False


class _Parser(HTMLParser):
    def __init__(self, reading: FileReading) -> None:
        super().__init__(convert_charrefs=True)
        self.reading = reading
        self.pages: list[PageBuilder] = []
        self.open: list[_Open] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _EMPTY:
            return
        given = dict(attrs)
        kinds = (given.get("class") or "").split()
        kind = next((kind for kind in kinds if kind == _PAGE or kind in _WORDS or kind in _LINES), "")
        element = _Open(tag, kind, given.get("title") or "")
        if kind == _PAGE:
            self._begin_page(element.title)
        if kind in _WORDS:
            for outer in self.open:
                outer.has_words = True
        self.open.append(element)

    def _begin_page(self, title: str) -> None:
        page = PageBuilder(self.reading, self.reading.name, len(self.pages) + 1)
        box = _BBOX.search(title)
        if box is not None:
            x0, y0, page.width, page.height = map(float, box[1].split())
            if (x0, y0) != (0, 0):
                self.reading.problems.add(ProblemKind.BAD_FIELD, self.reading.name, f"page {page.number}", title)
        image = _IMAGE.search(title)
        page.image = image[1].strip() if image else ""
        self.pages.append(page)

    def handle_data(self, data: str) -> None:
        inner = next((each for each in reversed(self.open) if each.kind in _WORDS or each.kind in _LINES), None)
        if inner is not None:
            inner.text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if not any(each.tag == tag for each in self.open):
            return
        while self.open:
            element = self.open.pop()
            self._end(element)
            if element.tag == tag:
                return

    def close(self) -> None:
        super().close()
        while self.open:
            self._end(self.open.pop())

    def _end(self, element: _Open) -> None:
        is_line = element.kind in _LINES and not element.has_words
        text = " ".join("".join(element.text).split())
        if not (element.kind in _WORDS or is_line) or not self.pages or not text:
            return  # words without a text are pictures
        box, sure = _BBOX.search(element.title), _SURE.search(element.title)
        points = points_of([float(part) for part in box[1].split()]) if box else None
        self.pages[-1].add(text, points, confidence=float(sure[1]) / 100 if sure else None, is_line=is_line)


def read(reading: FileReading, text: str) -> Iterator[DocumentWords]:
    """One document."""
    parser = _Parser(reading)
    parser.feed(text)
    parser.close()
    yield document(reading.name, parser.pages or [PageBuilder(reading, reading.name)])


FORMAT: Final = Format(
    name="hocr",
    expected="HTML with elements of class ocr_page and ocrx_word, with a bbox in their title",
    is_text=is_hocr,
    read_text=read,
)
