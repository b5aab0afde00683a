"""A receipt drawn as its file has it: the page that the file says, every box, those beside the page too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.labels import normalise
from receipt_trainer.data.receipt import Box
from receipt_trainer.data.sources.drafts import Draft, DraftWord
from receipt_trainer.reports import formatting
from receipt_trainer.reports.page import EmbeddedPhoto
from receipt_trainer.reports.receipt_svg import BACKGROUND_TEXT, MARGIN, MAX_TEXT, MAX_WORDS, fit_text

MAX_HEIGHT: Final = 1050.0
FRAME_WIDTH: Final = 520.0
BEYOND: Final = (0.3, 2.0)
"""Parts of the page that are shown beside it where a few boxes lie outside, and where many do."""
_MANY: Final = 0.1
_LIKE: Final = 0.03  # by so much the shapes of photo and page may differ
_GRID: Final = 1000


def draw_draft(
    draft: Draft, colors: Mapping[str, str], odd: Mapping[str, str], photo: EmbeddedPhoto | None
) -> dict[str, Any]:
    """The view of a receipt as its file has it: the whole page, boxes beside it too, what is wrong with words.

    Args:
        odd: what is wrong with words, by `DraftWord.where`.
        photo: laid over the page, or beside its corner where it has another shape; words are then framed, not written.
    """
    placed = [(word, _sorted_box(word.box)) for word in draft.words[:MAX_WORDS] if word.box is not None]
    width, height = draft.width, draft.height
    if min(width, height) <= 0:
        width = photo.width if photo else max([1.0, *(box[2] for _, box in placed)])
        height = photo.height if photo else max([1.0, *(box[3] for _, box in placed)])
    cut, num_far = _within_reach(placed, width, height)
    over, is_other = _photo_size(photo, width, height)
    boxes = [(0.0, 0.0, width, height), (0.0, 0.0, *over), *(box for _, box in cut)]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
    scale = min(FRAME_WIDTH / (right - left), MAX_HEIGHT / (bottom - top))
    words = []
    for word, (x0, y0, x1, y1) in cut:
        x, y = MARGIN + (x0 - left) * scale, MARGIN + (y0 - top) * scale
        box = x, y, max(4.0, (x1 - x0) * scale), max(4.0, (y1 - y0) * scale)
        words.append(_drawn_draft_word(word, box, colors, odd.get(word.where)))
    words.sort(key=lambda word: word["kind"] == "off")
    return {
        "width": (right - left) * scale + 2 * MARGIN,
        "height": (bottom - top) * scale + 2 * MARGIN,
        **{"page_x": MARGIN - left * scale, "page_y": MARGIN - top * scale},
        **{"page_width": width * scale, "page_height": height * scale},
        **{"photo": photo, "photo_width": over[0] * scale, "photo_height": over[1] * scale},
        **{"words": words, "photo_is_other": is_other, "num_far": num_far},
        "num_hidden_words": max(0, len(draft.words) - MAX_WORDS),
        "num_without_box": sum(word.box is None for word in draft.words),
    }


def _sorted_box(box: Sequence[float]) -> Box:
    x0, y0, x1, y1 = box
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _within_reach(
    placed: Sequence[tuple[DraftWord, Box]], width: float, height: float
) -> tuple[list[tuple[DraftWord, Box]], int]:
    """The words with boxes cut off at some distance from the page, and how many were; a few do not make it small."""
    for beyond in BEYOND:
        low, high = (-beyond * width, -beyond * height), ((1 + beyond) * width, (1 + beyond) * height)
        cut = []
        for word, box in placed:
            x0, y0, x1, y1 = (min(max(value, low[n % 2]), high[n % 2]) for n, value in enumerate(box))
            cut.append((word, (x0, y0, x1, y1)))
        num_far = sum(one != other for (_, one), (_, other) in zip(placed, cut, strict=True))
        if num_far <= _MANY * len(placed):
            break
    return cut, num_far


def _photo_size(photo: EmbeddedPhoto | None, width: float, height: float) -> tuple[tuple[float, float], bool]:
    """How large a photo lies on a page, in its unit, and whether it has another shape than the page."""
    if photo is None:
        return (0.0, 0.0), False
    page, own = width / height, photo.width / photo.height
    if abs(page - own) <= _LIKE * page or (width, height) == (_GRID, _GRID):
        return (width, height), False
    scale = max(width, height) / max(photo.width, photo.height)
    return (photo.width * scale, photo.height * scale), True


def _drawn_draft_word(word: DraftWord, box: Box, colors: Mapping[str, str], wrong: str | None) -> dict[str, Any]:
    """The view of a word; `box` is x, y, width, height."""
    label = normalise(word.label)
    kind = "off" if wrong else "none" if label == OUTSIDE else "labelled"
    said = f"{formatting.one_line(word.label, 60)}{f', {wrong}' if wrong else ''}"
    text = formatting.one_line(word.text, MAX_TEXT)
    color = colors.get(label, BACKGROUND_TEXT)
    x, y, width, height = box
    size, length = fit_text(text, width, height)
    return {
        **{"x": x, "y": y, "width": width, "height": height, "text": text, "font_size": size, "text_length": length},
        **{"kind": kind, "color": color, "title": f"{text}: {said}"},
    }
