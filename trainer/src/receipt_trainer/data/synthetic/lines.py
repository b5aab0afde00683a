"""A printed row of a receipt: cells of labelled words, and how they are made to fit the paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from receipt_trainer.contract.names import OUTSIDE

Token = tuple[str, str]
"""Text and label."""

Anchor = Literal["left", "right", "centre"]


@dataclass(frozen=True, slots=True)
class Cell:
    """Words printed together; `place` is where on the line, as a fraction of its width, the anchored edge stands."""

    tokens: tuple[Token, ...]
    anchor: Anchor = "left"
    place: float = 0.0

    @property
    def length(self) -> int:
        """Characters, with a space between words."""
        return sum(len(text) + 1 for text, _ in self.tokens) - 1

    def start(self, width: float) -> float:
        """Column of the first character on a line of `width` characters."""
        share = {"left": 0.0, "centre": 0.5, "right": 1.0}[self.anchor]
        return min(max(0.0, self.place * width - share * self.length), max(0.0, width - self.length))


@dataclass(frozen=True, slots=True)
class Line:
    """One printed row: cells from left to right, size of its type and the gap above it, in units of the usual line."""

    cells: tuple[Cell, ...]
    scale: float = 1.0
    gap: float = 0.0


def words(text: str, label: str = OUTSIDE) -> tuple[Token, ...]:
    """The words of `text`, all with one label."""
    return tuple((part, label) for part in text.split())


def pair(left: tuple[Token, ...], right: tuple[Token, ...], scale: float = 1.0) -> Line:
    """Words at the left edge and words at the right edge."""
    return Line((Cell(left), Cell(right, "right", 1.0)), scale)


def single(tokens: tuple[Token, ...], anchor: Anchor = "left", scale: float = 1.0, gap: float = 0.0) -> Line:
    """A line of one cell at the left edge or in the middle."""
    return Line((Cell(tokens, anchor, 0.5 if anchor == "centre" else 0.0),), scale, gap)


def fitted(line: Line, width: int) -> Iterator[Line]:
    """The line, or the lines that it takes on a paper of `width` characters: nothing is lost but the end of a word
    that is wider than the paper."""
    columns = int(width / line.scale)
    cells = [cell for whole in line.cells if whole.tokens for cell in _wrapped(whole, columns)]
    row: list[Cell] = []
    gap = line.gap
    for cell in cells:
        if row and row[-1].start(columns) + row[-1].length + 1 > cell.start(columns):
            yield replace(line, cells=tuple(row), gap=gap)
            row, gap = [], 0.0
        row.append(cell)
    if row:
        yield replace(line, cells=tuple(row), gap=gap)


def _wrapped(cell: Cell, columns: int) -> Iterator[Cell]:
    taken: list[Token] = []
    for text, label in cell.tokens:
        if taken and Cell((*taken, (text, label))).length > columns:
            yield replace(cell, tokens=tuple(taken))
            taken = []
        taken.append((text[:columns], label))
    yield replace(cell, tokens=tuple(taken))
