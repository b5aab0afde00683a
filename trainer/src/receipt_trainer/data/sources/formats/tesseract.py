"""Tesseract's TSV (`tesseract page.png out tsv`): pixels, several pages, one word a row of level 5."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from receipt_trainer.data.page_words import DocumentWords
from receipt_trainer.data.problems import ProblemKind
from receipt_trainer.data.sources.clean import number
from receipt_trainer.data.sources.formats.pages import FileReading, Format, PageBuilder, corners, document

_COLUMNS: Final = (
    *("level", "page_num", "block_num", "par_num", "line_num", "word_num"),
    *("left", "top", "width", "height", "conf", "text"),
)
_PAGE, _WORD = "1", "5"


def is_tsv(text: str) -> bool:
    """Whether it begins with the names of the columns."""
    return tuple(text.partition("\n")[0].strip().split("\t")) == _COLUMNS


def read(reading: FileReading, text: str) -> Iterator[DocumentWords]:
    """One document; rows of level 5 without a text are pictures and are passed over."""
    pages: dict[int, PageBuilder] = {}
    for row, line in enumerate(text.split("\n")[1:], start=2):
        cells = line.rstrip("\r").split("\t", maxsplit=len(_COLUMNS) - 1)
        if not line.strip() or (cells[0] == _WORD and len(cells) == len(_COLUMNS) and not cells[-1].strip()):
            continue
        values = _numbers(cells[:-1]) if len(cells) == len(_COLUMNS) else None
        if values is None:
            reading.problems.add(ProblemKind.BAD_RECORD, reading.name, f"line {row}", line)
            continue
        page = pages.setdefault(int(values[1]), PageBuilder(reading, reading.name, int(values[1])))
        left, top, width, height, sure = values[6:]
        if cells[0] == _PAGE:
            page.width, page.height = width, height
        elif cells[0] == _WORD:
            page.add(cells[-1], corners(left, top, width, height), confidence=sure / 100)
    yield document(reading.name, pages.values() or [PageBuilder(reading, reading.name)])


def _numbers(cells: list[str]) -> list[float] | None:
    try:
        values = [number(float(cell)) for cell in cells]
    except ValueError:
        return None
    sound = [value for value in values if value is not None and abs(value) < 1e9]
    return sound if len(sound) == len(cells) else None


FORMAT: Final = Format(
    name="tesseract",
    expected=f"a first line with the columns {' '.join(_COLUMNS)}, separated by tabs",
    is_text=is_tsv,
    read_text=read,
)
