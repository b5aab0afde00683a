"""A page: what stands where is measured first, checked, and only then drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from PIL import Image, ImageDraw

from receipt_trainer.models.paddleocr_vl.synthetic.fonts import Face

Colour = tuple[int, int, int]
Pixels = tuple[int, int, int, int]
"""(x0, y0, x1, y1), x1 and y1 outside."""

INK: Final[Colour] = (24, 24, 28)
GREY: Final[Colour] = (110, 110, 116)
_EDGE: Final = 6
"""Pixels at the edge of the page where nothing may stand."""


class TooLongError(Exception):
    """A document does not fit its page: it needs fewer lines."""


class LayoutFaultError(RuntimeError):
    """Texts overlap or leave the page: a fault of a template."""


@dataclass(frozen=True, slots=True)
class Text:
    """One text on one line. `box` is its ink, `origin` the left end of its baseline; `label` that of its words."""

    text: str
    face: Face
    origin: tuple[int, int]
    box: Pixels
    colour: Colour
    label: str


@dataclass(slots=True)
class Page:
    """Texts and shapes of a page that is `width` pixels wide; `height` may be set when all is placed."""

    width: int
    height: int = 0
    paper: Colour = (255, 255, 255)
    texts: list[Text] = field(default_factory=list)
    bands: list[tuple[Pixels, Colour]] = field(default_factory=list)
    rules: list[tuple[Pixels, Colour]] = field(default_factory=list)

    def put(
        self, text: str, x: int, y: int, face: Face, *, align: str = "l", colour: Colour = INK, label: str = ""
    ) -> int:
        """Place a text with its line's top at y: x is its left end, right end (`r`) or middle (`c`).

        Returns:
            The top of the next line.
        """
        width = face.width(text)
        left = x if align == "l" else x - width if align == "r" else x - width // 2
        baseline = y + face.font.getmetrics()[0]
        x0, y0, x1, y1 = face.font.getbbox(text, anchor="ls")
        box = (int(left + x0), int(baseline + y0), int(left + x1 + 1), int(baseline + y1 + 1))
        self.texts.append(Text(text, face, (left, baseline), box, colour, label))
        return y + face.line_height

    def rule(self, x0: int, y0: int, x1: int, y1: int, colour: Colour = INK, thickness: int = 1) -> None:
        """A line across or down."""
        across = y0 == y1
        box = (x0, y0, x1, y1 + thickness) if across else (x0, y0, x1 + thickness, y1)
        self.rules.append((box, colour))

    def band(self, x0: int, y0: int, x1: int, y1: int, colour: Colour) -> None:
        """A filled ground for texts."""
        self.bands.append(((x0, y0, x1, y1), colour))

    def check(self) -> None:
        """Every text is on the page and touches no other text and no rule.

        Raises:
            LayoutFaultError: which texts do not.
        """
        for text in self.texts:
            x0, y0, x1, y1 = text.box
            if x0 < _EDGE or y0 < _EDGE or x1 > self.width - _EDGE or y1 > self.height - _EDGE:
                raise LayoutFaultError(f"{text.text!r} at {text.box} leaves the page of {self.width} x {self.height}")
        named = [(text.box, text.text) for text in self.texts]
        lines = [(box, "a rule") for box, _ in self.rules]
        for first, second in _touching(named, lines):
            raise LayoutFaultError(f"{first!r} touches {second!r}")

    def draw(self) -> Image.Image:
        """The page as an RGB image."""
        self.check()
        image = Image.new("RGB", (self.width, self.height), self.paper)
        pen = ImageDraw.Draw(image)
        for (x0, y0, x1, y1), colour in (*self.bands, *self.rules):
            pen.rectangle((x0, y0, x1 - 1, y1 - 1), fill=colour)
        for text in self.texts:
            pen.text(text.origin, text.text, font=text.face.font, fill=text.colour, anchor="ls")
        return image


def _touching(texts: list[tuple[Pixels, str]], rules: list[tuple[Pixels, str]]) -> list[tuple[str, str]]:
    """Pairs of which one is a text and that share a pixel."""
    found = []
    waiting = sorted([(box, name, True) for box, name in texts] + [(box, name, False) for box, name in rules],
                     key=lambda entry: entry[0][1])  # fmt: skip
    open_: list[tuple[Pixels, str, bool]] = []
    for box, name, is_text in waiting:
        open_ = [entry for entry in open_ if entry[0][3] > box[1]]
        for other, other_name, other_is_text in open_:
            if (is_text or other_is_text) and other[0] < box[2] and box[0] < other[2]:
                found.append((other_name, name))
        open_.append((box, name, is_text))
    return found


def wrap(text: str, face: Face, width: int) -> list[str]:
    """A text in lines of at most `width` pixels, broken at spaces; a longer word is broken where it must be."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if face.width(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        while face.width(word) > width and len(word) > 1:
            cut = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or face.width(word[:n]) <= width)
            lines.append(word[:cut])
            word = word[cut:]
        line = word
    return [*lines, line]
