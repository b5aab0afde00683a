"""The words of a page with their boxes and labels, and the damage that a photo and a reader of it do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import Final

from receipt_trainer.data.receipt import Box, Word, WordLabel
from receipt_trainer.data.sources.clean import BOX_DECIMALS
from receipt_trainer.data.synthetic.page import Page

_CONFUSIONS: Final = ("0O", "O0", "1l", "l1", "Il", "5S", "S5", "8B", "B8", ".,", ",.", "ec", "G6", "/1", ":.", "ao")
"""A letter and what it is read as."""
_STRAY: Final = ("|", ".", "~", "-", "_", "'", "i", "#")


@dataclass(frozen=True, slots=True)
class Damage:
    """Shares of words that are misread, glued to the next or missed; `stray` of lines get a mark that is no text.

    `jitter` is in ems, `slope` the tilt of the lines as rise over run.
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
        rng.uniform(0, 0.12),
        rng.choice((0.0, 0.0, rng.uniform(-0.02, 0.02))),
    )


def draw_varied_damage(rng: Random) -> Damage:
    """Photos in the wild, read in every way: of most receipts a printed phrase is one word, and many are tilted."""
    kind = rng.random()
    glued = 1.0 if kind < 0.6 else 0.3 if kind < 0.7 else 0.02
    return Damage(
        rng.choice((0.0, 0.01, 0.03, 0.08)),
        glued,
        rng.choice((0.0, 0.0, 0.01, 0.03)),
        0.02,
        rng.uniform(0, 0.12),
        rng.choice((0.0, rng.uniform(-0.03, 0.03))),
    )


@dataclass(slots=True)
class _Seen:
    """A word in pixels of the page, as far as it is read."""

    text: str
    label: str
    x0: float
    y0: float
    x1: float
    y1: float
    size: int


def read_page(page: Page, rng: Random, damage: Damage) -> tuple[list[Word], int, int]:
    """The words in reading order, and the width and height in pixels of the page that they are seen on.

    Boxes of one line do not overlap; lines without a word left are skipped, so that line numbers have no hole.
    """
    lean = int(abs(damage.slope) * page.width / 2)
    height = page.height + 2 * lean
    words: list[Word] = []
    row = 0
    for line in _lines(page):
        seen = [_misread(rng, word, damage) for word in _glued(rng, line, damage.glued)]
        seen = [word for word in seen if not (damage.missed and rng.random() < damage.missed)]
        if seen and damage.stray and rng.random() < damage.stray and seen[0].x0 > 12:
            first = seen[0]
            seen.insert(0, _Seen(rng.choice(_STRAY), "", 2, first.y0, 8, first.y1, first.size))
        for word in seen:
            inward, shift = (rng.random() * damage.jitter * word.size for _ in range(2))
            x0, x1 = word.x0 + inward / 2, max(word.x0 + inward / 2 + 1, word.x1 - inward / 2)
            shift += lean + damage.slope * ((x0 + x1) / 2 - page.width / 2) - damage.jitter * word.size / 2
            box = _fractions((x0, word.y0 + shift, x1, word.y1 + shift), page.width, height)
            words.append(Word(word.text, box, row, (WordLabel(word.label),) if word.label else ()))
        row += bool(seen)
    return words, page.width, height


def _lines(page: Page) -> Iterator[list[_Seen]]:
    """The words of each baseline, from left to right."""
    texts = sorted(page.texts, key=lambda text: (text.origin[1], text.origin[0]))
    for _, line in groupby(texts, key=lambda text: text.origin[1]):
        yield [
            _Seen(word, text.label, x0, y0, x1, y1, text.face.size)
            for text in line
            for word, (x0, y0, x1, y1) in text.words()
        ]


def _glued(rng: Random, line: list[_Seen], share: float) -> list[_Seen]:
    """The words, some joined with the next; those of two different labels stay apart, a key may join its value."""
    joined: list[_Seen] = []
    for word in line:
        last = joined[-1] if joined else None
        near = last is not None and word.x0 - last.x1 < 0.9 * word.size
        may_join = last is None or not last.label or not word.label or last.label == word.label
        if last is not None and near and share and may_join and rng.random() < share:
            last.text, last.label, last.x1 = last.text + word.text, last.label or word.label, word.x1
            last.y0, last.y1 = min(last.y0, word.y0), max(last.y1, word.y1)
        else:
            joined.append(word)
    return joined


def _misread(rng: Random, word: _Seen, damage: Damage) -> _Seen:
    """The word, or by chance with one letter confused or lost; never empty."""
    text = word.text
    if damage.misread and rng.random() < damage.misread:
        possible = [confusion for confusion in _CONFUSIONS if confusion[0] in text]
        if possible and rng.random() < 0.8:
            wrong = rng.choice(possible)
            word.text = text.replace(wrong[0], wrong[1], 1)
        elif len(text) > 1:
            place = rng.randrange(len(text))
            word.text = text[:place] + text[place + 1 :]
    return word


def _fractions(box: tuple[float, float, float, float], width: int, height: int) -> Box:
    """A box in whole pixels inside the page, as fractions of it."""
    x0, y0 = max(0, round(box[0])), max(0, round(box[1]))
    x1, y1 = min(width, max(x0 + 1, round(box[2]))), min(height, max(y0 + 1, round(box[3])))
    x0_, y0_, x1_, y1_ = (round(edge, BOX_DECIMALS) for edge in (x0 / width, y0 / height, x1 / width, y1 / height))
    return x0_, y0_, x1_, y1_
