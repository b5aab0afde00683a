"""What people hand in, as documents: photos, PDFs, our JSON lines, files of other programs, dicts of words."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.data.page_words import DocumentWords, PageWord, PageWords
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.record import cause_of, parse_record
from receipt_trainer.errors import UserError
from receipt_trainer.files import open_bytes
from receipt_trainer.pages.kinds import IMAGE_ENDINGS, is_document, is_document_file

if TYPE_CHECKING:
    from receipt_trainer.inference.ocr import Ocr

IMAGES: Final = (*IMAGE_ENDINGS, ".pdf")
WORDS: Final = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".tsv", ".hocr", ".html", ".xml", ".txt")
"""Endings of the files that are read of a folder."""
OWN: Final = "jsonl"
STDIN: Final = "-"
_SHOWN: Final = 10
"""Pages that a document has, in a message on one that it has not."""
_LOOKED_AT: Final = 6
"""Lines of a file that say whether each line is a receipt."""
_UNKNOWN_SIZE: Final = 1000


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
        if self.format in (None, OWN) and _holds_lines(path):
            yield from map(self._wanted, _lines(path))
        elif self.is_photo(path):
            yield self._photo(path, name)
        else:
            yield from map(self._wanted, self._words(path, name))

    def is_photo(self, path: Path) -> bool:
        """Whether a file is read as an image or a PDF."""
        return self.format is None and _is_page(path)

    def is_known(self, path: Path) -> bool:
        """Whether a file is one of words that can be read: by the format that was named, or by its content."""
        from receipt_trainer.data.sources.foreign import detect

        return self.format is not None or _is_lines(path) or detect(path) is not None

    def of_bytes(self, content: bytes, name: str) -> Iterator[Given]:
        """The documents in what could be the content of a file.

        Raises:
            UserError: it is nothing that is known.
        """
        if self.format in (None, OWN) and _are_receipts(content.splitlines()):
            yield from map(self._wanted, _records(content.splitlines(), name))
        elif self.format is None and (not content or b"\0" in content[:1024] or is_document(content[:1024])):
            yield self._photo(content, name)
        else:
            yield from map(self._wanted, self._words(Path(name), name, content))

    def _wanted(self, given: Given) -> Given:
        """Of a document of words the pages that are read; refused, as a photo is, where it lacks one of them."""
        if self.pages is None or given.words is None:
            return given
        kept = tuple(page for page in given.words.pages if page.number in self.pages)
        missing = min(set(self.pages) - {page.number for page in kept}, default=None)
        if missing is not None:
            there = ", ".join(str(page.number) for page in given.words.pages[:_SHOWN])
            return replace(given, words=None, refusal=f"there is no page {missing} in {given.name}: it has {there}")
        return replace(given, words=replace(given.words, pages=kept))

    def _photo(self, content: bytes | Path, name: str) -> Given:
        from receipt_trainer.inference.ocr import read_document

        return Given(name, read_document(self.ocr(), content, name, pages=self.pages))

    def _words(self, path: Path, name: str, content: bytes | None = None) -> Iterator[Given]:
        """The documents of a text as a whole: receipts of ours in one JSON, or another program's."""
        from receipt_trainer.data.sources.foreign import detect, read_foreign

        if self.format == OWN or (self.format is None and detect(path, content) == OWN):
            yield from _whole(_bytes(path) if content is None else content, name, path)
            return
        problems = ProblemLog()
        for document in read_foreign(path, self.format, problems=problems, content=content):
            yield Given(document.name, document, problems=_said(problems))
            problems.examples.clear()


def page_numbers(text: str, called: str = "--pages") -> frozenset[int]:
    """ "1-3,7" as page numbers; messages call it `called`.

    Raises:
        UserError: it is something else.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if (
            not first.isdecimal()
            or not (last or first).isdecimal()
            or not 1 <= int(first) <= int(last or first) <= 9999
        ):
            raise UserError(f"{called} {text}: write 1, 2-4 or 1,3-5")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)


def of_record(record: Any, name: str, content: bytes | None = None, where: str = "") -> Given:
    """A decoded line of our format; an id and lines of words may be missing. `where` stands before a refusal."""
    problems = ProblemLog(max_examples=100)
    receipt = parse_record(_completed(record, name), name, problems)
    if receipt is None:
        return Given(name, refusal=where + _refusal(record, problems), content=content)
    return Given(receipt.name, document_of(receipt), content=content, problems=_said(problems))


def _completed(record: Any, name: str) -> Any:
    """The record with an id; where a word says no line, all lines are found by the boxes."""
    if not isinstance(record, Mapping) or not isinstance(record.get("words"), list):
        return record
    words: list[Any] = record["words"]
    if any(isinstance(word, Mapping) and word.get("line") is None for word in words):
        words = [
            {key: value for key, value in word.items() if key != "line"} if isinstance(word, Mapping) else word
            for word in words
        ]
    return {**record, "id": name if record.get("id") in (None, "") else record["id"], "words": words}


def _refusal(record: Any, problems: ProblemLog) -> str:
    """Why a record is no receipt, in a sentence."""
    if problems.counts[ProblemKind.BOXES_FRACTIONS]:
        return "its boxes lie between 0 and 1, pixels are wanted: multiply them by width and height"
    if problems.counts[ProblemKind.NO_WORDS]:
        others = ProblemLog(counts=problems.counts.copy(), examples=problems.examples)
        del others.counts[ProblemKind.NO_WORDS]
        return f"no word in it can be used{cause_of(record)}{others.said()}"
    details = [problem.detail for found in problems.examples.values() for problem in found if problem.detail]
    return details[-1][1:].removesuffix(details[-1][0]) if details else "not a receipt"  # without its quotes


def document_of(receipt: Receipt) -> DocumentWords:
    """The words of a receipt at their places on its page; a page of unknown size counts as 1000 x 1000."""
    width, height = receipt.width or _UNKNOWN_SIZE, receipt.height or _UNKNOWN_SIZE
    name = receipt.name or receipt.key
    words = tuple(
        PageWord(
            word.text,
            (word.box[0] * width, word.box[1] * height, word.box[2] * width, word.box[3] * height),
            word.line,
            word.confidence,
        )
        for word in receipt.words
    )
    return DocumentWords(name, (PageWords(1, width, height, words),), receipt.source)


def _lines(path: Path) -> Iterator[Given]:
    try:
        with open_bytes(path) as stream:
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
        yield of_record(record, place, line, f"line {row}: ")


def _bytes(path: Path) -> bytes:
    try:
        with open_bytes(path) as stream:
            return stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _whole(content: bytes, name: str, path: Path) -> Iterator[Given]:
    """The receipts of one JSON, a receipt or an array of them; or of JSON lines in a file called as one JSON is."""
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        lines = content.splitlines()
        if not _are_receipts(lines):
            raise UserError(f"{path}: no receipts as JSON lines or one JSON: {error}") from None
        yield from _records(lines, name)
        return
    if not isinstance(found, list):
        yield of_record(found, name)
        return
    for place, record in enumerate(found):
        yield of_record(record, f"{name}[{place}]", json.dumps(record).encode(), f"[{place}]: ")


def _holds_lines(path: Path) -> bool:
    """Whether a file is one of JSON lines, a receipt each; some may be broken."""
    if not _is_lines(path):
        return False
    try:
        with open_bytes(path) as stream:
            return not stream.peek(1) or _are_receipts(stream)
    except (OSError, EOFError, zlib.error):
        return True  # reading says what is wrong


def _are_receipts(lines: Iterable[bytes]) -> bool:
    """Whether one of the first lines has words as ours have them."""
    for line in islice((line for line in lines if line.strip()), _LOOKED_AT):
        try:
            record = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            continue
        words = record.get("words") if isinstance(record, dict) else None
        if isinstance(words, list) and ("width" in record or not any(isinstance(word, str) for word in words)):
            return True
    return False


def _is_lines(path: Path) -> bool:
    return path.name.lower().endswith((".jsonl", ".jsonl.gz"))


def _is_page(path: Path) -> bool:
    return path.name.lower().endswith(IMAGES) or is_document_file(path)


def _name(path: Path) -> str:
    return path.name.removesuffix(".gz").rpartition(".")[0] or path.name


def _said(problems: ProblemLog) -> tuple[str, ...]:
    return tuple(str(one) for found in problems.examples.values() for one in found)
