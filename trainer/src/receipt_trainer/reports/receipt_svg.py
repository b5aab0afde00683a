"""A receipt drawn with what was read on it: one colour a label, red for errors."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
GUTTER_WIDTH: Final = 222.0
CAPTION_SIZE: Final = 10.2
CAPTION_ROOM: Final = GUTTER_WIDTH - 24 - 26
CAPTION_PITCH: Final = 14.0
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

    `num_hidden_words` and `num_hidden_errors` say what was left out for want of room.
    """
    if not item.receipt.words:
        return None
    order = sorted(range(len(item.verdicts)), key=lambda n: not item.verdicts[n].is_error)[:MAX_WORDS]
    page = _page(item.receipt, item.receipt.words)
    room = max(4, int((page.height - 2 * MARGIN) / CAPTION_PITCH))
    runs = [run for run in error_runs(item) if run.indexes[0] in set(order)][:room]
    captions = _captions(page, item, runs)
    return {
        "width": page.width + (GUTTER_WIDTH if captions else 0),
        "height": max(page.height, captions[-1]["y"] + MARGIN if captions else 0),
        "page_width": page.width,
        "page_height": page.height,
        "words": [_drawn_word(page, item, index, colors) for index in reversed(order)],
        "captions": captions,
        "num_hidden_words": len(item.verdicts) - len(order),
        "num_hidden_errors": item.num_wrong - sum(len(run.indexes) for run in runs),
    }


def _drawn_word(page: _Page, item: JudgedReceipt, index: int, colors: Mapping[str, str]) -> dict[str, Any]:
    """A box with its text. `text_length` is set where the text fills the box: fonts differ between machines."""
    word, verdict = item.receipt.words[index], item.verdicts[index]
    x, y, width, height = page.place(word)
    text = formatting.one_line(word.text, MAX_TEXT)
    natural = text_em(text)
    size = max(3.0, min(0.74 * height, 14.0, (width - 2) / natural if natural else height))
    known = f", {formatting.percent(word.score)}" if word.score is not None else ""
    said = word.gold if word.gold == word.pred else f"{word.gold} → {word.pred}"
    said = said if word.scored else f"{word.pred}, not scored"
    return {
        **{"x": x, "y": y, "width": width, "height": height, "text": text, "font_size": size, "verdict": verdict},
        "text_length": max(1.0, min(width - 2, size * natural)) if size * natural > 0.8 * width else None,
        "color": colors.get(word.gold, BACKGROUND_TEXT) if word.scored else BACKGROUND_TEXT,
        "title": f"{text}: {formatting.one_line(said, 90)}{known}",
    }


def text_em(text: str) -> float:
    """Estimated width of `text` in a common sans-serif font, in units of the font size."""
    return sum(map(_character_em, text))


def _character_em(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if character in "iljtfrI.,:;'|!()[]- /":
        return 0.31
    return 0.7 if character.isupper() or character in "mwMW@%&" else 0.555


def _captions(page: _Page, item: JudgedReceipt, runs: Sequence[ErrorRun]) -> list[dict[str, Any]]:
    """One error in words a run, in the gutter at `y`, as near as possible to the height of its first word, none over
    another; its number stands at (`mark_x`, `mark_y`) on the page too.
    """
    placed = [(page.place(item.receipt.words[run.indexes[0]]), run) for run in runs]
    placed.sort(key=lambda pair: (pair[0][1] + pair[0][3] / 2, pair[0][0]))
    # From the bottom up first, so that the last captions do not run out of the picture.
    latest = page.height - MARGIN
    targets = []
    for box, _ in reversed(placed):
        latest = min(latest - CAPTION_PITCH, box[1] + box[3] / 2)
        targets.append(latest)
    captions = []
    earliest = MARGIN + 2
    for number, ((box, run), target) in enumerate(zip(placed, reversed(targets), strict=True), start=1):
        y = max(earliest, target)
        earliest = y + CAPTION_PITCH
        many = f" ×{len(run.indexes)}" if len(run.indexes) > 1 else ""
        text = f"{formatting.one_line(run.gold, 16)} → {formatting.one_line(run.pred, 16)}{many}"
        score = item.receipt.words[run.indexes[0]].score
        captions.append(
            {
                **{"number": number, "y": y, "mark_x": box[0], "mark_y": box[1], "verdict": run.verdict, "text": text},
                "text_length": CAPTION_ROOM if CAPTION_SIZE * text_em(text) > CAPTION_ROOM else None,
                "score": "" if score is None else formatting.percent(score),
            }
        )
    return captions
