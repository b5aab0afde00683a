"""What people hand in, as documents: photos, PDFs, our JSON lines, files of other programs, dicts of words."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.data.page_words import DocumentWords, PageWord, PageWords, line_numbers
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.clean import number
from receipt_trainer.data.sources.jsonl import parse_record
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from receipt_trainer.inference.ocr import Ocr

IMAGES: Final = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".pdf")
WORDS: Final = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".tsv", ".hocr", ".html", ".xml")
"""Endings of the files that are read of a folder."""
OWN: Final = "jsonl"
STDIN: Final = "-"


@dataclass(frozen=True, slots=True)
class Given:
    """A document as it was handed in.

    Attributes:
        content: exactly what it is made of, for its hash; None where that is the whole file.
        words: None for one that cannot be read; `refusal` says why.
        problems: what was left out of it.
    """

    name: str
    words: DocumentWords | None = None
    refusal: str = ""
    content: bytes | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inputs:
    """How things are opened.

    Attributes:
        ocr: gives the reader of photos; called when there is one to read.
        format: of files with words; recognised if None.
        pages: numbers of the pages that are read, from 1; all if None.
    """

    ocr: Callable[[], Ocr]
    format: str | None = None
    pages: Collection[int] | None = field(default=None)

    def of_file(self, path: Path) -> Iterator[Given]:
        """The documents of a file, one after the other.

        Raises:
            UserError: it cannot be read, or is nothing that is known.
        """
        name = _name(path)
        if self.format == OWN or (self.format is None and _is_lines(path)):
            yield from _lines(path)
            return
        if self.format is None and (record := _record(path)) is not None:
            yield of_record(record, name)
            return
        if self.is_photo(path):
            yield self._photo(path, name)
            return
        yield from self._foreign(path)

    def is_photo(self, path: Path) -> bool:
        """Whether a file is read as an image or a PDF."""
        return self.format is None and _is_page(path)

    def is_known(self, path: Path) -> bool:
        """Whether a file is one of words that can be read: by the format that was named, or by its content."""
        from receipt_trainer.data.sources.foreign import detect

        return self.format is not None or _is_lines(path) or _record(path) is not None or detect(path) is not None

    def of_bytes(self, content: bytes, name: str) -> Iterator[Given]:
        """The documents in a text of JSON lines, or the photo or PDF that the bytes are."""
        if content.lstrip()[:1] == b"{":
            yield from _records(content.splitlines(), name)
            return
        yield self._photo(content, name)

    def _photo(self, content: bytes | Path, name: str) -> Given:
        from receipt_trainer.inference.ocr import read_document

        return Given(name, read_document(self.ocr(), content, name, pages=self.pages))

    def _foreign(self, path: Path) -> Iterator[Given]:
        from receipt_trainer.data.sources.foreign import read_foreign

        problems = ProblemLog()
        for document in read_foreign(path, self.format, problems=problems):
            yield Given(document.name, document, problems=_said(problems))
            problems.examples.clear()


def of_record(record: Any, name: str, content: bytes | None = None) -> Given:
    """A decoded line of our format; an id and lines of words may be missing."""
    problems = ProblemLog(max_examples=100)
    receipt = parse_record(_with_lines(record, name), name, problems)
    if receipt is None:
        said = _said(problems)
        return Given(name, refusal=said[-1] if said else "not a receipt", content=content)
    return Given(receipt.name, _document(receipt), content=content, problems=_said(problems))


def _with_lines(record: Any, name: str) -> Any:
    if not isinstance(record, Mapping) or not isinstance(record.get("words"), list):
        return record
    words: list[Any] = record["words"]
    if not words or all(isinstance(word, Mapping) and word.get("line") is not None for word in words):
        return {"id": name, **record}
    boxes = [_corners(word) for word in words]
    lines = line_numbers([box for box in boxes if box is not None])
    numbers = iter(lines)
    placed = [
        {**word, "line": next(numbers)} if box is not None else word for word, box in zip(words, boxes, strict=True)
    ]
    placed.sort(key=lambda word: (word.get("line") or 0, word["box"][0]) if _corners(word) else (0, 0))
    return {"id": name, **record, "words": placed}


def _corners(word: Any) -> tuple[float, float, float, float] | None:
    box = word.get("box") if isinstance(word, Mapping) else None
    values = [number(value) for value in box] if isinstance(box, list) and len(box) == 4 else []
    known = [value for value in values if value is not None]
    return (known[0], known[1], known[2], known[3]) if len(known) == 4 else None


def _document(receipt: Receipt) -> DocumentWords:
    width, height = receipt.width, receipt.height
    words = tuple(
        PageWord(
            word.text,
            (word.box[0] * width, word.box[1] * height, word.box[2] * width, word.box[3] * height),
            word.line,
            word.confidence,
        )
        for word in receipt.words
    )
    return DocumentWords(receipt.name, (PageWords(1, width, height, words),), receipt.source)


def _lines(path: Path) -> Iterator[Given]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield from _records(stream, _name(path))
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _records(lines: Any, name: str) -> Iterator[Given]:
    for row, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{name} line {row}"
        try:
            record = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            yield Given(place, refusal=f"line {row} is not JSON: {error}", content=line)
            continue
        yield of_record(record, place, line)


def _record(path: Path) -> Any:
    """A file that holds one receipt of our format, decoded; None for any other file."""
    try:
        if path.suffix.lower() != ".json" or path.stat().st_size > 20_000_000:
            return None
        found = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    is_own = isinstance(found, dict) and {"width", "height", "words"} <= found.keys()
    first = next(iter(found["words"]), None) if is_own and isinstance(found["words"], list) else None
    return found if is_own and (first is None or (isinstance(first, dict) and "box" in first)) else None


def _is_lines(path: Path) -> bool:
    return path.name.endswith((".jsonl", ".jsonl.gz"))


def _is_page(path: Path) -> bool:
    from receipt_trainer.pages.kinds import is_document_file

    return path.name.lower().endswith(IMAGES) or is_document_file(path)


def _name(path: Path) -> str:
    return path.name.removesuffix(".gz").rpartition(".")[0] or path.name


def _said(problems: ProblemLog) -> tuple[str, ...]:
    return tuple(str(one) for found in problems.examples.values() for one in found)
