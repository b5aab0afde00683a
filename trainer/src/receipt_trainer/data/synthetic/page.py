"""A page: what stands where is measured first, checked, and only then drawn or read."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

Colour = tuple[int, int, int]
Pixels = tuple[int, int, int, int]
"""(x0, y0, x1, y1), x1 and y1 outside."""

Align = Literal["l", "c", "r"]
Part = tuple[str, str]
"""Text and label ("" for none)."""

INK: Final[Colour] = (24, 24, 28)
GREY: Final[Colour] = (110, 110, 116)
_EDGE: Final = 6
"""Pixels at the edge of the page where nothing may stand."""
_NARROW: Final = frozenset("iljtfrI.,:;'|!()[] -/")
_WIDE: Final = frozenset("mwMW@%&")


class TooLongError(Exception):
    """A document does not fit its page: it needs fewer lines."""


class LayoutFaultError(RuntimeError):
    """Texts overlap or leave the page: a fault of a template."""


class Family(Protocol):
    """A font family; sizes are pixels of the em."""

    @property
    def name(self) -> str:
        """Its name in templates."""

    def covers(self, letters: Iterable[str]) -> bool:
        """Whether it has a glyph for each letter."""

    def advance(self, text: str, size: int, bold: bool) -> float:
        """Pixels that a text takes."""

    def metrics(self, size: int, bold: bool) -> tuple[int, int]:
        """Pixels above and below the baseline."""

    def ink(self, text: str, size: int, bold: bool) -> tuple[float, float, float, float]:
        """The box of the text's ink, its origin the left end of the baseline."""


@dataclass(frozen=True, slots=True)
class PlainFamily:
    """A family that is measured by rule of thumb: for words with boxes where nothing is drawn, without any font."""

    name: str
    typewriter: bool = True

    def covers(self, letters: Iterable[str]) -> bool:
        """It has every letter."""
        return True

    def advance(self, text: str, size: int, bold: bool) -> float:
        """Three fifths of the em for every letter, or about what sans-serif letters take; East Asian ones take all."""
        if self.typewriter and text.isascii():
            return 0.6 * size * len(text)
        return size * sum(map(self._share, text))

    def _share(self, letter: str) -> float:
        if letter > "\u02ff" and unicodedata.east_asian_width(letter) in "WF":
            return 1.0
        if self.typewriter:
            return 0.6
        return 0.32 if letter in _NARROW else 0.88 if letter in _WIDE else 0.67 if letter.isupper() else 0.57

    def metrics(self, size: int, bold: bool) -> tuple[int, int]:
        """As most fonts have it."""
        return round(0.93 * size), round(0.24 * size)

    def ink(self, text: str, size: int, bold: bool) -> tuple[float, float, float, float]:
        """From the capitals' height to the descenders."""
        return 0.03 * size, -0.74 * size, max(1.0, self.advance(text, size, bold) - 0.1 * size), 0.16 * size


@dataclass(frozen=True, slots=True)
class Face:
    """A family in one weight and size (pixels of the em); `leading` widens its lines, `capitals` has capitals alone."""

    family: Family
    size: int
    bold: bool = False
    leading: float = 1.0
    capitals: bool = False

    def of(self, size: int, *, bold: bool = False) -> Face:
        """The same in another size and weight."""
        return replace(self, size=size, bold=bold)

    def shown(self, text: str) -> str:
        """The text in this face's letters."""
        return text.upper() if self.capitals else text

    @property
    def line_height(self) -> int:
        """Pixels from one baseline to the next."""
        return int(self.leading * (sum(self.family.metrics(self.size, self.bold)) + max(2, self.size // 8)))

    def width(self, text: str) -> int:
        """Pixels that a text takes, rounded up."""
        return int(self.family.advance(self.shown(text), self.size, self.bold)) + 1

    def ink(self, text: str, left: float, baseline: int) -> Pixels:
        """The box of a text's ink, whose baseline begins there."""
        x0, y0, x1, y1 = self.family.ink(text, self.size, self.bold)
        return int(left + x0), int(baseline + y0), int(left + x1 + 1), int(baseline + y1 + 1)


@dataclass(frozen=True, slots=True)
class Cell:
    """Parts that stand behind each other; `place` is where on the line their anchored edge is, as a fraction of it."""

    parts: tuple[Part, ...]
    align: Align = "l"
    place: float = 0.0

    def wrapped(self, face: Face, width: int) -> Iterator[Cell]:
        """The cell, or the cells that it takes where it is wider than `width` pixels; nothing is lost."""
        if face.width(" ".join(text for text, _ in self.parts)) <= width:
            yield self
            return
        words = [(piece, label) for text, label in self.parts for word in text.split(" ")
                 for piece in _broken(word, face, width)]  # fmt: skip
        line = ""
        taken: list[Part] = []
        for text, label in words:
            joined = f"{line} {text}" if taken else text
            if taken and face.width(joined) > width:
                yield replace(self, parts=tuple(taken))
                taken, joined = [], text
            if taken and taken[-1][1] == label:
                taken[-1] = f"{taken[-1][0]} {text}", label
            else:
                taken.append((text, label))
            line = joined
        yield replace(self, parts=tuple(taken))


def cell(text: str, label: str = "", align: Align = "l") -> Cell:
    """A cell of one text at the left end, the right end or in the middle of its line."""
    return Cell(((text, label),) if text else (), align, {"l": 0.0, "c": 0.5, "r": 1.0}[align])


@dataclass(frozen=True, slots=True)
class Text:
    """One text on one line. `box` is its ink, `origin` the left end of its baseline; `label` that of its words."""

    text: str
    face: Face
    origin: tuple[int, int]
    box: Pixels
    colour: Colour
    label: str

    def words(self) -> Iterator[tuple[str, Pixels]]:
        """Its words, each with the box of its ink in pixels."""
        start = 0
        for word in self.text.split(" "):
            if word:
                shift = self.face.family.advance(self.text[:start], self.face.size, self.face.bold)
                yield word, self.face.ink(word, self.origin[0] + shift, self.origin[1])
            start += len(word) + 1


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
        self, text: str, x: int, y: int, face: Face, *, align: Align = "l", colour: Colour = INK, label: str = ""
    ) -> int:
        """Place a text with its line's top at y: x is its left end, right end (`r`) or middle (`c`).

        Returns:
            The top of the next line.
        """
        text = face.shown(text)
        width = face.width(text)
        left = x if align == "l" else x - width if align == "r" else x - width // 2
        baseline = y + face.family.metrics(face.size, face.bold)[0]
        self.texts.append(Text(text, face, (left, baseline), face.ink(text, left, baseline), colour, label))
        return y + face.line_height

    def put_line(
        self, cells: Sequence[Cell], y: int, face: Face, left: int, right: int, *, colour: Colour = INK
    ) -> int:
        """Place cells between two edges on a line, or on the lines that they take where they do not fit side by side.

        Returns:
            The top of the next line.
        """
        space = max(3, face.width(" "))
        end, begun = left, False
        for whole in cells:
            for piece in whole.wrapped(face, right - left) if whole.parts else ():
                widths = [face.width(text) for text, _ in piece.parts]
                width = sum(widths) + space * (len(widths) - 1)
                x = left + round(piece.place * (right - left)) - (0, width // 2, width)["lcr".index(piece.align)]
                x = max(left, min(x, right - width))
                if begun and x < end + space:
                    y += face.line_height
                for (text, label), wide in zip(piece.parts, widths, strict=True):
                    self.put(text, x, y, face, colour=colour, label=label)
                    x += wide + space
                end, begun = x - space, True
        return y + face.line_height if begun else y

    def rule(self, x0: int, y0: int, x1: int, y1: int, colour: Colour = INK, thickness: int = 1) -> None:
        """A line across or down."""
        across = y0 == y1
        box = (x0, y0, x1, y1 + thickness) if across else (x0, y0, x1 + thickness, y1)
        self.rules.append((box, colour))

    def band(self, x0: int, y0: int, x1: int, y1: int, colour: Colour) -> None:
        """A filled ground for texts."""
        self.bands.append(((x0, y0, x1, y1), colour))

    @property
    def content(self) -> Pixels:
        """The box around all that is placed."""
        boxes = [text.box for text in self.texts] + [box for box, _ in (*self.bands, *self.rules)]
        x0, y0, x1, y1 = zip(*boxes, strict=True)
        return max(0, min(x0)), max(0, min(y0)), min(self.width, max(x1)), min(self.height, max(y1))

    def check(self) -> None:
        """Every text is on the page and touches no other text and no rule; LayoutFaultError: which texts do not."""
        for text in self.texts:
            x0, y0, x1, y1 = text.box
            if x0 < _EDGE or y0 < _EDGE or x1 > self.width - _EDGE or y1 > self.height - _EDGE:
                raise LayoutFaultError(f"{text.text!r} at {text.box} leaves the page of {self.width} x {self.height}")
        shapes = [(text.box, text.text, True) for text in self.texts]
        shapes += [(box, "a rule", False) for box, _ in self.rules]
        above: list[tuple[Pixels, str, bool]] = []
        for box, name, is_text in sorted(shapes, key=lambda shape: shape[0][1]):
            above = [shape for shape in above if shape[0][3] > box[1]]
            for other, other_name, other_is_text in above:
                if (is_text or other_is_text) and other[0] < box[2] and box[0] < other[2]:
                    raise LayoutFaultError(f"{other_name!r} touches {name!r}")
            above.append((box, name, is_text))


def wrap(text: str, face: Face, width: int) -> list[str]:
    """A text in lines of at most `width` pixels, broken at spaces; a longer word is broken where it must be."""
    return [" ".join(part for part, _ in line.parts) for line in cell(text).wrapped(face, width)]


def _broken(word: str, face: Face, width: int) -> Iterator[str]:
    while face.width(word) > width and len(word) > 1:
        cut = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or face.width(word[:n]) <= width)
        yield word[:cut]
        word = word[cut:]
    yield word
