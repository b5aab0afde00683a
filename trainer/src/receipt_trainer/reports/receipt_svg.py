"""A receipt drawn with what was read on it: one colour a label, red for errors."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any, Final

from receipt_trainer.contract.names import AMOUNT
from receipt_trainer.contract.predictions import PredictedWord, ReceiptPrediction
from receipt_trainer.reports import formatting
from receipt_trainer.reports.word_errors import ErrorRun, JudgedReceipt, error_runs

ERROR: Final = "#b42318"
BACKGROUND_TEXT: Final = "#98a2ae"

_KNOWN: Final = {
    "MERCHANT_NAME": "#332288",
    "PHONE_NUMBER": "#3d9bd1",
    "ADDRESS_LINE": "#1f9484",
    "DATE": "#14682f",
    "TIME": "#6fa02c",
    "PRODUCT_NAME": "#1f5fbf",
    "QUANTITY": "#8a8a1f",
    "UNIT_PRICE": "#7a5a1e",
    "LINE_TOTAL": "#c48200",
    "SUBTOTAL": "#a9449b",
    "TAX": "#6d2a78",
    "GRAND_TOTAL": "#222b36",
    AMOUNT: "#c48200",
}
_OTHERS: Final = ("#4c6b8a", "#5e7d4f", "#8b6b94", "#6e6259", "#2f7f86", "#9a7434")


def label_colors(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each label; labels beyond the core ones share six more in turn."""
    others = [label for label in labels if label not in _KNOWN]
    return {label: _KNOWN.get(label) or _OTHERS[others.index(label) % len(_OTHERS)] for label in labels}


PAGE_WIDTH: Final = 312.0
MIN_PAGE_WIDTH: Final = 230.0
PAGE_HEIGHTS: Final = (150.0, 1050.0)
MAX_WORDS: Final = 600
MAX_TEXT: Final = 60
MARGIN: Final = 8.0


@dataclass(frozen=True, slots=True)
class _Page:
    """Maps the 0..1000 grid to the picture, cut to the part that has words."""

    left: float
    top: float
    scale_x: float
    scale_y: float
    width: float
    height: float

    def place(self, word: PredictedWord) -> tuple[float, float, float, float]:
        """x, y, width, height of a word's box; a box without area is made visible."""
        x0, y0, x1, y1 = _ordered(word)
        x, y = MARGIN + (x0 - self.left) * self.scale_x, MARGIN + (y0 - self.top) * self.scale_y
        return x, y, max(4.0, (x1 - x0) * self.scale_x), max(5.0, (y1 - y0) * self.scale_y)


def _ordered(word: PredictedWord) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (min(1000, max(0, value)) for value in word.box)
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _page(receipt: ReceiptPrediction, words: Sequence[PredictedWord]) -> _Page:
    """The part of the page that has words, as wide as fits."""
    boxes = [_ordered(word) for word in words]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    across, down = max(1, max(box[2] for box in boxes) - left), max(1, max(box[3] for box in boxes) - top)
    shape = receipt.height / receipt.width if receipt.width > 0 and receipt.height > 0 else 1.4
    width = PAGE_WIDTH
    height = width * shape * down / across
    if height > PAGE_HEIGHTS[1]:
        width = max(MIN_PAGE_WIDTH, width * PAGE_HEIGHTS[1] / height)
        height = PAGE_HEIGHTS[1]
    height = max(PAGE_HEIGHTS[0], height)
    # Photographed far away, words would be too small to read: the picture grows until the usual word is 11 px high.
    usual = median(box[3] - box[1] for box in boxes) * height / down
    if 0 < usual < 11:
        height = min(PAGE_HEIGHTS[1], height * 11 / usual)
    return _Page(left, top, width / across, height / down, width + 2 * MARGIN, height + 2 * MARGIN)


def draw(item: JudgedReceipt, colors: Mapping[str, str]) -> dict[str, Any] | None:
    """The view of a judged receipt; None if it has no words. Of more than `MAX_WORDS` the wrong ones are drawn first.

    `captions` say each run of errors in words; its number stands at (`mark_x`, `mark_y`) of the picture, too.
    `num_hidden_words` are those left out for want of room.
    """
    if not item.receipt.words:
        return None
    order = sorted(range(len(item.verdicts)), key=lambda n: not item.verdicts[n].is_error)[:MAX_WORDS]
    page, drawn = _page(item.receipt, item.receipt.words), set(order)
    runs = [run for run in error_runs(item) if run.indexes[0] in drawn]
    return {
        "width": page.width,
        "height": page.height,
        "words": _apart([_drawn_word(page, item, index, colors) for index in reversed(order)]),
        "captions": [_caption(page, item, number, run) for number, run in enumerate(runs, start=1)],
        "num_hidden_words": len(item.verdicts) - len(order),
    }


def _drawn_word(page: _Page, item: JudgedReceipt, index: int, colors: Mapping[str, str]) -> dict[str, Any]:
    """A box with its text at (`text_x`, `text_y`), its middle. `text_length` is set where the text fills the box: fonts
    differ between machines.
    """
    word, verdict = item.receipt.words[index], item.verdicts[index]
    x, y, width, height = page.place(word)
    text = formatting.one_line(word.text, MAX_TEXT)
    size, length = fit_text(text, width, height)
    known = f", {formatting.percent(word.score)}" if word.score is not None else ""
    said = word.gold if word.gold == word.pred else f"{word.gold} → {word.pred}"
    said = said if word.scored else f"{word.pred}, not scored"
    return {
        **{"x": x, "y": y, "width": width, "height": height, "text": text, "font_size": size, "verdict": verdict},
        **{"text_x": x + width / 2, "text_y": y + height / 2},
        "text_length": length,
        "color": colors.get(word.gold, BACKGROUND_TEXT) if word.scored else BACKGROUND_TEXT,
        "title": f"{text}: {formatting.one_line(said, 90)}{known}",
    }


_SHIFTS: Final = (0.0, -0.3, 0.3, -0.6, 0.6, -0.9, 0.9)
"""Of a box' height: where the text of an overlapping word may stand."""
_SIZES: Final = (1.0, 0.8, 0.65, 0.5)
_STRIP: Final = 16.0
_Rectangle = tuple[float, float, float, float]


def _apart(words: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The words with their texts moved and shrunk where boxes lie on each other, so that each can be read."""
    taken: dict[int, list[_Rectangle]] = defaultdict(list)  # by strips of the picture
    for word in sorted(words, key=lambda word: (word["y"] + word["height"] / 2, word["x"])):
        wide = word["text_length"] or word["font_size"] * text_em(word["text"])
        for scale, shift in product(_SIZES, _SHIFTS):
            box = _text_box(word, wide, scale, shift * word["height"])
            strips = range(int(box[1] // _STRIP), int(box[3] // _STRIP) + 1)
            if not any(_meet(box, other) for strip in strips for other in taken[strip]):
                for strip in strips:
                    taken[strip].append(box)
                word["font_size"] *= scale
                word["text_y"] += shift * word["height"]
                word["text_length"] = word["text_length"] and word["text_length"] * scale
                break
    return words


def _text_box(word: Mapping[str, Any], wide: float, scale: float, shift: float) -> _Rectangle:
    half, high = scale * wide / 2 - 0.5, 0.43 * scale * word["font_size"]
    x, y = word["text_x"], word["text_y"] + shift
    return x - half, y - high, x + half, y + high


def _meet(one: _Rectangle, other: _Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def fit_text(text: str, width: float, height: float) -> tuple[float, float | None]:
    """The font size at which a text fits a box, and the length to set it to; None where it is short enough anyway."""
    natural = text_em(text)
    size = max(3.0, min(0.74 * height, 14.0, (width - 2) / natural if natural else height))
    return size, max(1.0, min(width - 2, size * natural)) if size * natural > 0.8 * width else None


def text_em(text: str) -> float:
    """Estimated width of `text` in a common sans-serif font, in units of the font size."""
    return sum(map(_character_em, text))


def _character_em(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if character in "iljtfrI.,:;'|!()[]- /":
        return 0.31
    return 0.7 if character.isupper() or character in "mwMW@%&" else 0.555


def _caption(page: _Page, item: JudgedReceipt, number: int, run: ErrorRun) -> dict[str, Any]:
    words = [item.receipt.words[index] for index in run.indexes]
    x, y, _, _ = page.place(words[0])
    return {
        **{"number": number, "mark_x": max(6.0, x), "mark_y": max(6.0, y), "gold": run.gold, "pred": run.pred},
        "text": formatting.one_line(" ".join(word.text for word in words), MAX_TEXT),
        "score": words[0].score,
    }
