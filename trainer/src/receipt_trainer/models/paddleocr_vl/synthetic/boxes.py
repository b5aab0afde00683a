"""The words of a drawn page with their boxes and labels, as the first model family reads receipts."""

from __future__ import annotations

from collections.abc import Iterator

from receipt_trainer.data.receipt import Receipt, Word, WordLabel, image_id_for
from receipt_trainer.models.paddleocr_vl.synthetic.draw import Drawn
from receipt_trainer.models.paddleocr_vl.synthetic.page import Page, Pixels, Text

SOURCE = "synthetic-vl"


def receipt_of(drawn: Drawn, name: str) -> Receipt:
    """Every word that stands on the page, in reading order."""
    page = drawn.page
    words: list[Word] = []
    for number, line in enumerate(_lines(page)):
        for text in line:
            labels = (WordLabel(text.label),) if text.label else ()
            for word, box in words_of(text):
                x0, y0, x1, y1 = box
                scaled = (x0 / page.width, y0 / page.height, x1 / page.width, y1 / page.height)
                words.append(Word(word, scaled, number, labels))
    return Receipt(
        image_id=image_id_for(SOURCE, name),
        receipt_id=1,
        words=tuple(words),
        name=name,
        source=SOURCE,
        width=page.width,
        height=page.height,
    )


def words_of(text: Text) -> Iterator[tuple[str, Pixels]]:
    """The words of a text, each with the box of its ink in pixels."""
    font, (left, baseline) = text.face.font, text.origin
    start = 0
    for word in text.text.split(" "):
        x = left + font.getlength(text.text[:start])
        start += len(word) + 1
        if word:
            x0, y0, x1, y1 = font.getbbox(word, anchor="ls")
            yield word, (int(x + x0), int(baseline + y0), int(x + x1 + 1), int(baseline + y1 + 1))


def _lines(page: Page) -> list[list[Text]]:
    """Texts by baseline, from left to right."""
    lines: dict[int, list[Text]] = {}
    for text in page.texts:
        lines.setdefault(text.origin[1], []).append(text)
    return [sorted(texts, key=lambda text: text.origin[0]) for _, texts in sorted(lines.items())]
