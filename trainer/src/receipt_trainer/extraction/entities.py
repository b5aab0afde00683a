"""Labelled words as fields: an entity is a run of one label inside a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.labels import to_bio


@dataclass(frozen=True, slots=True)
class ReadWord:
    """A word and what was read on it.

    Attributes:
        number: what the user calls it; unique within the receipt.
        box: x0, y0, x1, y1, in any unit.
        label: without BIO prefix, `O` for none.
        score: probability of the label, 0..1.
        reading: probability that the text is read right; None where nobody read it.
        page: from 1; lines are counted through all pages.
    """

    number: int
    text: str
    box: tuple[float, float, float, float]
    line: int
    label: str
    score: float
    reading: float | None = None
    page: int = 1


@dataclass(frozen=True, slots=True)
class Entity:
    """One field value; `score` is the mean of its words', `box` holds all of theirs, `words` are their numbers."""

    label: str
    text: str
    score: float
    box: tuple[float, float, float, float]
    words: tuple[int, ...]


def tags(words: Sequence[ReadWord]) -> list[str]:
    """BIO tags of words in reading order."""
    return [tag for line in _lines(words) for tag in to_bio([word.label for word in line])]


def entities(words: Sequence[ReadWord]) -> Iterator[Entity]:
    """The entities of a receipt in reading order, from words in reading order."""
    for line in _lines(words):
        for label, run in groupby(line, key=lambda word: word.label):
            if label != OUTSIDE:
                yield _entity(label, list(run))


def fields(words: Sequence[ReadWord]) -> dict[str, list[Entity]]:
    """The entities of a receipt by label, the labels in the order in which they first occur."""
    found: dict[str, list[Entity]] = {}
    for entity in entities(words):
        found.setdefault(entity.label, []).append(entity)
    return found


def _lines(words: Sequence[ReadWord]) -> Iterator[list[ReadWord]]:
    for _, line in groupby(words, key=lambda word: word.line):
        yield list(line)


def _entity(label: str, run: Sequence[ReadWord]) -> Entity:
    return Entity(
        label=label,
        text=" ".join(word.text for word in run),
        score=sum(word.score for word in run) / len(run),
        box=_hull(word.box for word in run),
        words=tuple(word.number for word in run),
    )


def _hull(boxes: Iterable[tuple[float, float, float, float]]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)
