"""From printed lines to words with boxes, and the damage that a photo and a reader of it do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from random import Random
from typing import Final

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.receipt import Box, Word, WordLabel
from receipt_trainer.data.sources.clean import BOX_DECIMALS
from receipt_trainer.data.synthetic.lines import Cell, Line, Token

_CONFUSIONS: Final = ("0O", "O0", "1l", "l1", "Il", "5S", "S5", "8B", "B8", ".,", ",.", "ec", "G6", "/1", ":.", "ao")
"""A letter and what it is read as."""
_STRAY: Final = ("|", ".", "~", "-", "_", "'", "i", "#")


@dataclass(frozen=True, slots=True)
class Damage:
    """Shares of words that are misread, glued to the next or missed; `stray` of lines get a mark that is no text.

    `jitter` is in characters, `slope` the tilt of the lines as rise over run.
    """

    misread: float = 0.0
    glued: float = 0.0
    missed: float = 0.0
    stray: float = 0.0
    jitter: float = 0.0
    slope: float = 0.0


def draw_damage(rng: Random) -> Damage:
    """Most receipts are read well; one in ten has every printed phrase as one word, as some readers deliver it."""
    kind = rng.random()
    glued = 1.0 if kind < 0.1 else 0.2 if kind < 0.25 else 0.02
    return Damage(
        rng.choice((0.0, 0.01, 0.03, 0.08)),
        glued,
        rng.choice((0.0, 0.0, 0.01)),
        0.02,
        rng.uniform(0, 0.2),
        rng.choice((0.0, 0.0, rng.uniform(-0.02, 0.02))),
    )


def place_words(rng: Random, lines: Sequence[Line], columns: int, damage: Damage) -> tuple[list[Word], int, int]:
    """Words with boxes of whole pixels inside a page, and the page's width and height in pixels.

    Boxes of one line do not overlap; lines without a word left are skipped, so that line numbers have no hole.
    """
    page = _draw_page(rng, lines, columns, damage.slope)
    placed: list[Word] = []
    y, row = page.first_line, 0
    for line in lines:
        y += line.gap * page.line_height
        boxes = _line_boxes(rng, line, columns, damage)
        for text, label, start, end in boxes:
            shift = rng.uniform(-0.3, 0.3) * damage.jitter * page.line_height
            box = page.box(start, end, y + shift, line.scale * page.line_height, damage.slope)
            placed.append(Word(text, box, row, () if label == OUTSIDE else (WordLabel(label),)))
        row += bool(boxes)
        y += line.scale * page.line_height
    return placed, page.width, page.height


@dataclass(frozen=True, slots=True)
class _Page:
    """A page in pixels: where its text begins, the width of a character and the height of a line."""

    width: int
    height: int
    left: int
    first_line: float
    pitch: float
    line_height: float

    def box(self, start: float, end: float, y: float, height: float, slope: float) -> Box:
        """The box, as fractions, of the columns from `start` to `end` on a line that begins at y pixels."""
        x0, x1 = (self.left + round(column * self.pitch) for column in (start, end))
        top = y + slope * ((x0 + x1) / 2 - self.width / 2)
        y0, y1 = max(0, round(top + 0.1 * height)), min(self.height, round(top + 0.85 * height))
        corners = x0 / self.width, y0 / self.height, max(x0 + 1, x1) / self.width, max(y0 + 1, y1) / self.height
        x0_, y0_, x1_, y1_ = (round(corner, BOX_DECIMALS) for corner in corners)
        return x0_, y0_, x1_, y1_


def _draw_page(rng: Random, lines: Sequence[Line], columns: int, slope: float) -> _Page:
    width = rng.randint(320, 1400)
    left, right = (int(width * rng.uniform(0.03, 0.14)) for _ in range(2))
    pitch = (width - left - right) / columns
    line_height = pitch * rng.uniform(1.7, 2.6)
    lean = abs(slope) * width / 2
    first_line = lean + line_height * rng.uniform(0.6, 3.0)
    # fsum, because sum rounds in another way from Python 3.12 on.
    text_height = line_height * fsum(line.scale + line.gap for line in lines)
    height = int(first_line + text_height + line_height * rng.uniform(0.6, 3.0) + lean) + 1
    return _Page(width, height, left, first_line, pitch, line_height)


def _line_boxes(rng: Random, line: Line, columns: int, damage: Damage) -> list[tuple[str, str, float, float]]:
    """Text, label, first and last column of each word of a line; a word leaves a fifth of its last column free."""
    boxes = []
    for cell in line.cells:
        start = cell.start(int(columns / line.scale))
        # The letters that a box was drawn around come from the print; reading it wrong moves no box.
        for glued in _glued(rng, cell, damage.glued):
            printed = sum(len(text) for text, _ in glued.tokens) + len(glued.tokens) - 1
            text = _misread(rng, "".join(text for text, _ in glued.tokens), damage.misread)
            label = next((label for _, label in glued.tokens if label != OUTSIDE), OUTSIDE)
            first = start + rng.uniform(0, 0.3) * damage.jitter
            last = start + printed - 0.2 - rng.uniform(0, 0.3) * damage.jitter
            if not (damage.missed and rng.random() < damage.missed):
                boxes.append((text, label, first * line.scale, last * line.scale))
            start += printed + 1
    if boxes and damage.stray and rng.random() < damage.stray and boxes[0][2] > 2:
        boxes.insert(0, (rng.choice(_STRAY), OUTSIDE, 0.1, 0.9))
    return boxes


def _glued(rng: Random, cell: Cell, share: float) -> list[Cell]:
    """The cell's words, some joined; words of two different labels stay apart, a key may join its value."""
    joined: list[list[Token]] = []
    for token in cell.tokens:
        labels = {label for _, label in (*joined[-1], token)} - {OUTSIDE} if joined else set()
        if joined and len(labels) < 2 and share and rng.random() < share:
            joined[-1].append(token)
        else:
            joined.append([token])
    return [Cell(tuple(tokens)) for tokens in joined]


def _misread(rng: Random, text: str, share: float) -> str:
    """The text, or with probability `share` one letter confused or lost; never empty."""
    if not share or rng.random() >= share:
        return text
    possible = [confusion for confusion in _CONFUSIONS if confusion[0] in text]
    if possible and rng.random() < 0.8:
        confusion = rng.choice(possible)
        return text.replace(confusion[0], confusion[1], 1)
    place = rng.randrange(len(text))
    return text[:place] + text[place + 1 :] if len(text) > 1 else text
