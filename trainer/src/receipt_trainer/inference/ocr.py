"""OCR: a page's image becomes words, whichever way the page lies."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

import cv2
import numpy as np
from PIL import Image

from receipt_trainer.data.page_words import DocumentWords, PageWord, PageWords, Turn, line_numbers, straightened
from receipt_trainer.extraction.confidence import calibrated
from receipt_trainer.inference.text_models import LineText, Pixels, Quad, TextDetector, TextRecogniser, cut
from receipt_trainer.pages.documents import open_pages
from receipt_trainer.pages.images import Content

_MAX_PIXELS: Final = 6_000_000
"""Of the image that lines are cut from; a larger one is made smaller first, and nothing legible is lost."""
_LONG: Final = 1.5
"""A box this many times as long as it is high tells which way its text runs."""
_PROBES: Final = 6
"""Lines that are read first, to see whether the page stands on its head."""
_UPRIGHT: Final = 0.9
"""Lines that are read with this mean confidence stand upright."""
_MIN_CONFIDENCE: Final = 0.5
"""Of a line: what is read with less is a pattern, not text."""
SLOPE, OFFSET = 0.65, 0.82
"""Of the curve that makes of the product of a word's characters the probability that it is read right: fitted on drawn
pages by benchmarks/ocr_confidence.py."""
_FULL_WIDTH: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
"""The recogniser knows Latin punctuation in two widths."""


@dataclass(frozen=True, slots=True)
class _OcrLine:
    quad: Quad
    read: LineText


class Ocr:
    """Detector and recogniser, loaded once; pages can be read from several threads at a time."""

    def __init__(self) -> None:
        self._detector = TextDetector()
        self._recogniser = TextRecogniser()

    def read(self, image: Image.Image, number: int = 1) -> PageWords:
        """The words of a page; boxes are in pixels of the image as given, once it has been turned upright.

        Args:
            image: RGB of 8 bits.
            number: of the page, from 1.
        """
        pixels, scale = _workable(np.asarray(image))
        quads = self._detector.find(pixels)
        turned = 0
        if _lies_sideways(quads):
            turned = 90
            pixels = _turn(pixels, 1)
            quads = self._detector.find(pixels)
        read = self._probe(pixels, quads)
        # A page that lies on its side may have been turned to either; one that is read well stands upright.
        if (turned or _mean_confidence(read.values()) < _UPRIGHT) and self._stands_on_head(pixels, quads, read):
            turned += 180
            read = {}
            pixels = _turn(pixels, 2)
            size = np.array(pixels.shape[1::-1], dtype=np.float32)
            quads = [np.roll(size - quad, 2, axis=0) for quad in quads]
        others = [index for index in range(len(quads)) if index not in read]
        read |= self._read(pixels, quads, others)
        lines = [_OcrLine(quad / scale, read[index]) for index, quad in enumerate(quads)]
        width, height = image.size if turned % 180 == 0 else (image.height, image.width)
        return page_of(lines, number, width, height, cast(Turn, turned))

    def _probe(self, pixels: Pixels, quads: Sequence[Quad]) -> dict[int, LineText]:
        """Some lines read as they stand; of middling length: enough letters to be sure by, and cheap."""
        long = [index for index, quad in enumerate(quads) if _ratio(quad) > 2]
        long.sort(key=lambda index: abs(_ratio(quads[index]) - 6))
        return self._read(pixels, quads, long[:_PROBES])

    def _stands_on_head(self, pixels: Pixels, quads: Sequence[Quad], upright: dict[int, LineText]) -> bool:
        """Whether lines are read better upside down."""
        turned = self._recogniser.read([_turn(cut(pixels, quads[index]), 2) for index in upright])
        return _mean_confidence(turned) > _mean_confidence(upright.values())

    def _read(self, pixels: Pixels, quads: Sequence[Quad], wanted: Sequence[int]) -> dict[int, LineText]:
        texts = self._recogniser.read([cut(pixels, quads[index]) for index in wanted])
        return dict(zip(wanted, texts, strict=True))


def read_document(ocr: Ocr, content: Content, name: str, *, pages: Collection[int] | None = None) -> DocumentWords:
    """The words of an image or a PDF.

    Args:
        content: a file, or what stands in one.
        name: of the document; also in messages about bytes.
        pages: numbers of those to read, from 1; all by default.

    Raises:
        UserError: no image or PDF, broken, too large or too long, or a page that it does not have.
    """
    called = name if isinstance(content, bytes) else None  # messages name a file by its path
    read = tuple(ocr.read(page.image, page.number) for page in open_pages(content, pages=pages, name=called))
    return DocumentWords(name, read)


def page_of(lines: Sequence[_OcrLine], number: int, width: int, height: int, turned: Turn) -> PageWords:
    """The words of recognised lines, in reading order."""
    lines = [line for line in lines if line.read.confidence >= _MIN_CONFIDENCE]
    skew = _skew([line.quad for line in lines])
    words = [word for line in lines for word in _words(line, width, height)]
    page = PageWords(number, width, height, tuple(words), turned, round(skew, 2))
    straight = straightened(page)
    numbers = line_numbers(straight)
    order = sorted(range(len(words)), key=lambda index: (numbers[index], straight[index][0]))
    return replace(page, words=tuple(replace(words[index], line=numbers[index]) for index in order))


def _words(line: _OcrLine, width: int, height: int) -> Iterator[PageWord]:
    """A line split at spaces and after colons; a word's box is its share of the line by characters."""
    text = line.read.text.translate(_FULL_WIDTH)
    top_left, top_right, bottom_right, bottom_left = line.quad
    for start, end in spans(text):
        left, right = start / len(text), end / len(text)
        corners = np.array(
            [edge[0] + share * (edge[1] - edge[0])
             for edge in ((top_left, top_right), (bottom_left, bottom_right))
             for share in (left, right)]
        )  # fmt: skip
        (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        box = round(max(0, x0), 1), round(max(0, y0), 1), round(min(width, x1), 1), round(min(height, y1), 1)
        confidence = calibrated(math.prod(line.read.confidences[start:end]), SLOPE, OFFSET)
        yield PageWord(text[start:end], box, confidence=round(confidence, 4))


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each word: split at spaces, and after a colon that stands in no time or ratio."""
    start = 0
    for place, char in enumerate(text):
        if char.isspace():
            if place > start:
                yield start, place
            start = place + 1
        elif char == ":" and not (text[place - 1 : place].isdigit() and text[place + 1 : place + 2].isdigit()):
            yield start, place + 1
            start = place + 1
    if start < len(text):
        yield start, len(text)


def _workable(pixels: Pixels) -> tuple[Pixels, float]:
    """The image, made smaller if it is very large, and its scale."""
    height, width = pixels.shape[:2]
    scale = math.sqrt(_MAX_PIXELS / (width * height))
    if scale >= 1:
        return pixels, 1.0
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)), scale


def _lies_sideways(quads: Sequence[Quad]) -> bool:
    """Whether more of the text runs up or down than across."""
    ratios = [(_ratio(quad), float(max(np.ptp(quad[:, 0]), np.ptp(quad[:, 1])))) for quad in quads]
    across = sum(length for ratio, length in ratios if ratio > _LONG)
    return sum(length for ratio, length in ratios if ratio < 1 / _LONG) > across


def _ratio(quad: Quad) -> float:
    """Width over height."""
    return float(np.linalg.norm(quad[1] - quad[0]) / max(1.0, float(np.linalg.norm(quad[3] - quad[0]))))


def _turn(pixels: Pixels, quarters: int) -> Pixels:
    """Turned clockwise."""
    return np.ascontiguousarray(np.rot90(pixels, -quarters))


def _mean_confidence(texts: Collection[LineText]) -> float:
    return sum(text.confidence for text in texts) / max(1, len(texts))


def _skew(quads: Sequence[Quad]) -> float:
    """Degrees by which lines rise to the right: the median over all their length."""
    found = []
    for quad in quads:
        across = quad[1] - quad[0] + quad[2] - quad[3]
        if _ratio(quad) > 3:
            found.append((math.degrees(math.atan2(-across[1], across[0])), float(np.hypot(*across))))
    found.sort()
    half = sum(length for _, length in found) / 2
    for angle, length in found:
        half -= length
        if half <= 0:
            return angle
    return 0.0
