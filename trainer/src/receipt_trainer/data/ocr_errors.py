"""Receipts as OCR would give them: letters confused, words split, joined and lost, boxes a little off.

Rates and confusions are those of our own reader on drawn photos of receipts (`benchmarks/fit_ocr_errors.py`; figures in
docs/lab-notes.md). Typed or well-read words so become what a model is given when it reads photos.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Final

from receipt_trainer.data.receipt import Box, Receipt, Word

SEVERITY: Final = 0.4
"""Confusions were counted on photos that are small and blurred; on larger ones there are a twentieth of them. What is
between is a choice, no measurement."""
LOST: Final = 0.003
"""Of letters."""
JOINED: Final = 0.012
"""Of gaps between two words of a line."""
SPLIT: Final = 0.0007
"""Of places within words."""
MISSED: Final = 0.003
"""Of words."""
MOVED: Final = 0.15
"""Of a word's height: by so much at most its left and right edge lie elsewhere, for they are shares of a line's."""

CONFUSIONS: Final[dict[str, tuple[float, str]]] = {
    ",": (0.106, "........"),
    ".": (0.044, ",,,,,,,,"),
    "0": (0.093, "88886693"),
    "1": (0.004, "33"),
    "2": (0.02, "77777777"),
    "3": (0.019, "111111"),
    "6": (0.026, "00000555"),
    "8": (0.023, "00000HH"),
    "9": (0.014, "0000"),
    "@": (0.317, "00000000"),
    "A": (0.004, "44"),
    "B": (0.037, "888"),
    "E": (0.035, "FFFFLLLR"),
    "F": (0.028, "PP"),
    "I": (0.046, "TTTLL11"),
    "M": (0.035, "NNNRR"),
    "N": (0.009, "RR"),
    "O": (0.012, "0000"),
    "S": (0.02, "55555"),
    "U": (0.015, "III"),
    "a": (0.021, "ooooeee"),
    "c": (0.017, "ee"),
    "d": (0.027, "aa"),
    "e": (0.042, "ooooaan"),
    "f": (0.114, "ttttt"),
    "h": (0.025, "ll"),
    "i": (0.045, "llll111t"),
    "l": (0.101, "tttttttt"),
    "m": (0.198, "nnnnnnnr"),
    "n": (0.022, "mmmoo"),
    "o": (0.068, "aaaaaann"),
    "t": (0.01, "ll"),
}
"""How often a letter was read as another, and as which, each as often as it stands there."""


def misread(receipt: Receipt, rng: Random) -> Receipt:
    """The receipt under a name of its own, as OCR might read it; words keep the labels of those that they come of."""
    words = [word for line in receipt.lines() for word in _line(line, rng)]
    name = f"{receipt.name or receipt.key} misread"
    return replace(receipt, words=tuple(words), name=name, receipt_id=receipt.receipt_id + 10_000)


def with_misread(receipts: Sequence[Receipt], share: float, seed: int) -> list[Receipt]:
    """The receipts, and after them a misread copy of a share of them; the same seed gives the same copies."""
    copies = []
    for receipt in receipts:
        rng = Random(f"ocr:{seed}:{receipt.key}")  # noqa: S311 - the same each time
        if rng.random() < share:
            copies.append(misread(receipt, rng))
    return [*receipts, *(copy for copy in copies if copy.words)]


def _line(line: Sequence[Word], rng: Random) -> Iterator[Word]:
    waiting: Word | None = None
    for word in line:
        for piece in _split(word, rng):
            if rng.random() < MISSED:
                continue
            if waiting is None:
                waiting = piece
            elif rng.random() < JOINED and _may_join(waiting, piece):
                waiting = _joined(waiting, piece)
            else:
                yield _seen(waiting, rng)
                waiting = piece
    if waiting is not None:
        yield _seen(waiting, rng)


def _split(word: Word, rng: Random) -> list[Word]:
    """After each colon, as our reader does, and by chance elsewhere; boxes are shared out by letters."""
    text, starts = word.text, [0]
    for place in range(1, len(text)):
        colon = text[place - 1] == ":" and not (text[place - 2 : place - 1].isdigit() and text[place].isdigit())
        if colon or rng.random() < SPLIT:
            starts.append(place)
    x0, y0, x1, y1 = word.box
    step = (x1 - x0) / max(1, len(text))
    return [
        replace(word, text=text[start:end], box=(x0 + start * step, y0, x0 + end * step, y1))
        for start, end in zip(starts, [*starts[1:], len(text)], strict=True)
    ]


def _may_join(one: Word, other: Word) -> bool:
    """Near each other, and not of two labels."""
    near = other.box[0] - one.box[2] < one.box[3] - one.box[1]
    return near and (not one.labels or not other.labels or one.labels == other.labels)


def _joined(one: Word, other: Word) -> Word:
    box: Box = (
        min(one.box[0], other.box[0]),
        min(one.box[1], other.box[1]),
        max(one.box[2], other.box[2]),
        max(one.box[3], other.box[3]),
    )
    return replace(one, text=one.text + other.text, box=box, labels=one.labels or other.labels)


def _seen(word: Word, rng: Random) -> Word:
    letters = []
    for letter in word.text:
        if rng.random() < LOST and len(word.text) > 1:
            continue
        rate, others = CONFUSIONS.get(letter, (0.0, letter))
        letters.append(rng.choice(others) if rng.random() < SEVERITY * rate else letter)
    x0, y0, x1, y1 = word.box
    reach = min(MOVED * (y1 - y0), (x1 - x0) / 3)
    x0, x1 = max(0.0, x0 + rng.uniform(-reach, reach)), min(1.0, x1 + rng.uniform(-reach, reach))
    return replace(word, text="".join(letters) or word.text, box=(x0, y0, x1, y1))
