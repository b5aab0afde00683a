"""What people hand in, as documents: photos, PDFs, our JSON lines, files of other programs, dicts of words."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from gzip import GzipFile
from io import BufferedReader, BytesIO
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from receipt_trainer.data.page_words import DocumentWords, PageWord, PageWords
from receipt_trainer.data.problems import ABOUT_LABELS, ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.jsonl import JsonLine, Suspicion, note_encoding, read_lines
from receipt_trainer.data.sources.record import parse_record
from receipt_trainer.errors import UserError
from receipt_trainer.files import open_bytes, refuse_stream
from receipt_trainer.pages.kinds import IMAGE_ENDINGS, is_document, is_document_file

if TYPE_CHECKING:
    from receipt_trainer.contract.job import Family
    from receipt_trainer.inference.answer import Answer
    from receipt_trainer.pages.images import Content

IMAGES: Final = (*IMAGE_ENDINGS, ".pdf")
WORDS: Final = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".tsv", ".hocr", ".html", ".xml", ".txt", ".parquet")
"""Endings of the files that are read of a folder."""
OWN: Final = "jsonl"
STDIN: Final = "-"
_SHOWN: Final = 10
"""Pages that a document has, in a message on one that it has not."""
_LOOKED_AT: Final = 6
"""Lines of a file that say whether each line is a receipt."""
_UNKNOWN_SIZE: Final = 1000


class RefusedError(UserError):
    """What stands behind a reader will answer nothing: it wants another key, say."""


@dataclass(frozen=True, slots=True)
class DrawnPage:
    """A page as it looks, upright, for a model that is shown pages.

    Attributes:
        number: from 1.
        width, height: in pixels, of the page as it was given.
        png: its picture, perhaps smaller.
    """

    number: int
    width: int
    height: int
    png: bytes


@dataclass(frozen=True, slots=True)
class Given:
    """A document as it was handed in: its words, or its pages for a reader that is shown them.

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
    drawn: tuple[DrawnPage, ...] = ()


class Reader(Protocol):
    """What reads documents. Several threads may use one.

    Attributes:
        family: of its model, as job files call it.
    """

    family: Family

    @property
    def version(self) -> str:
        """A name for all that answers depend on besides the documents."""

    def about(self) -> dict[str, Any]:
        """precision, labels and whether confidences are calibrated, as /v1/model says them."""

    def open_photo(self, content: Content, name: str, pages: Collection[int] | None) -> Given:
        """The pages (numbers from 1; all if None) of an image or a PDF as `answer` takes them.

        Raises:
            UserError: it cannot be read, or is neither.
        """

    def answer(self, given: Given) -> Answer:
        """What is read of a document.

        Raises:
            UserError: it is none.
            WorldError: the model cannot be asked.
        """


@dataclass(frozen=True, slots=True)
class Inputs:
    """How things are opened.

    Attributes:
        open_photo: of the reader.
        format: of files with words; recognised if None.
        pages: numbers of the pages that are read, from 1; all if None.
        problems: takes what is wrong with words, those of all documents.
        suspicion: looks at all receipts in our own form.
    """

    open_photo: Callable[[Content, str, Collection[int] | None], Given]
    format: str | None = None
    pages: Collection[int] | None = field(default=None)
    problems: ProblemLog = field(default_factory=ProblemLog)
    suspicion: Suspicion = field(default_factory=lambda: Suspicion("the input"))

    def of_file(self, path: Path) -> Iterator[Given]:
        """The documents of a file, one after the other.

        Raises:
            UnknownFormatError: it is nothing that is known.
            UserError: it cannot be read.
        """
        name = _name(path)
        if self.format in (None, OWN) and _holds_lines(path):
            yield from map(self._wanted, self._receipts(path, name))
        elif self.is_photo(path):
            yield self.open_photo(path, name, self.pages)
        else:
            yield from map(self._wanted, self._words(path, name))

    def is_photo(self, path: Path) -> bool:
        """Whether a file is read as an image or a PDF."""
        return self.format is None and is_photo_file(path)

    def of_bytes(self, content: bytes, name: str) -> Iterator[Given]:
        """The documents in what could be the content of a file.

        Raises:
            UserError: it is nothing that is known.
        """
        if self.format in (None, OWN) and _are_receipts(_stream(content)):
            yield from map(self._wanted, self._receipts(Path(name), name, content))
        elif self.format is None and is_photo_content(content):
            yield self.open_photo(content, name, self.pages)
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

    def _words(self, path: Path, name: str, content: bytes | None = None) -> Iterator[Given]:
        """The documents of a text as a whole: receipts of ours in one JSON, or another program's."""
        from receipt_trainer.data.sources.foreign import content_of, format_of, read_foreign

        inside = None if self.format == OWN else content_of(path, content)
        found = self.format if inside is None else self.format or format_of(inside)
        if found == OWN:
            yield from self._receipts(path, name, content)
            return
        problems = ProblemLog()
        for document in read_foreign(path, found, problems=problems, content=inside):
            yield Given(document.name, document, problems=_said(problems))
            self.problems.merge(problems)
            problems.forget(list(problems.counts))

    def _receipts(self, path: Path, name: str, content: bytes | None = None) -> Iterator[Given]:
        """The receipts of a file of ours, or of what stands in one."""
        try:
            with open_bytes(path) if content is None else _stream(content) as stream:
                for line in read_lines(stream, name):
                    yield self._receipt(line, name, path)
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
            raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None

    def _receipt(self, line: JsonLine, name: str, path: Path) -> Given:
        is_whole, after, problems = line.place == name, line.place.removeprefix(name), _log()
        place = problems.place = path.name + after
        where = f"line {line.row}" if after.startswith(":") else after
        called = name if is_whole else f"{name} {where}" if after.startswith(":") else line.place
        note_encoding(line, problems)
        problems.place = ""
        receipt = None
        if line.error:
            problems.add(ProblemKind.BAD_RECORD, place, detail=line.error)
        else:
            receipt = _parsed(line.value, called, problems)
        self.suspicion.look(line.value, receipt)
        self.problems.merge(problems, place=place)
        if is_whole:
            return Given(called, refusal=line.error) if line.error else _given(receipt, called, problems)
        if line.error:
            return Given(called, refusal=f"{where} is {line.error}", content=line.content)
        return _given(receipt, called, problems, line.content, f"{where}: ")


def files_below(name: str | Path, endings: tuple[str, ...], output: Path | None = None) -> list[Path]:
    """A file, or of a folder those in and below it with one of the endings, by name; hidden ones left out.

    Args:
        output: is written, and so not read where it lies in the folder.

    Raises:
        UserError: nothing is called so, or the folder has no such file.
    """
    path = Path(name)
    if not path.exists():
        raise UserError(f"{name}: no such file or folder")
    if not path.is_dir():
        refuse_stream(path)
        return [path]
    written = output and os.path.realpath(output)
    inner = sorted(file for file in _inside(path, endings) if os.path.realpath(file) != written)
    if not inner:
        raise UserError(
            f"{name}: no {'image or PDF' if endings == IMAGES else 'photo, PDF or file of words'} in this folder"
        )
    return inner


def _inside(folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """No pipes, which could be waited for without end. Folders that may not be read are given, to be refused."""
    closed: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(place, name)
            if not name.startswith(".") and name.lower().endswith(endings) and not _is_pipe(path):
                yield path
    yield from (Path(error.filename) for error in closed)


def _is_pipe(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False  # reading says what is wrong


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


def of_record(record: Any, name: str) -> Given:
    """A decoded receipt in our format; an id and lines of words may be missing."""
    problems = _log()
    return _given(_parsed(record, name, problems), name, problems)


def _log() -> ProblemLog:
    return ProblemLog(max_examples=100)


def _parsed(record: Any, name: str, problems: ProblemLog) -> Receipt | None:
    receipt = parse_record(_completed(record, name), name, problems)
    problems.forget(ABOUT_LABELS)
    return receipt


def _given(
    receipt: Receipt | None, name: str, problems: ProblemLog, content: bytes | None = None, where: str = ""
) -> Given:
    """The document that a receipt is; `where` stands before a refusal."""
    if receipt is None:
        return Given(name, refusal=where + problems.refusal(), content=content)
    return Given(receipt.name, document_of(receipt), content=content, problems=_said(problems))


def _completed(record: Any, name: str) -> Any:
    """The record with an id."""
    is_named = not isinstance(record, Mapping) or record.get("id") not in (None, "")
    return record if is_named else {**record, "id": name}


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


def _is_binary(head: bytes) -> bool:
    return b"\0" in head and not head.startswith(b"PAR1")  # Parquet is read as words


def _stream(content: bytes) -> BufferedReader:
    return BufferedReader(BytesIO(content))


def _holds_lines(path: Path) -> bool:
    """Whether a file is one of JSON lines, a receipt each; some may be broken."""
    if not _is_lines(path):
        return False
    try:
        with open_bytes(path) as stream:
            return not stream.peek(1) or _are_receipts(stream)
    except (OSError, EOFError, zlib.error):
        return True  # reading says what is wrong


def _are_receipts(stream: IO[bytes] | GzipFile) -> bool:
    """Whether one of the first lines has words as ours have them."""
    try:
        for line in islice(read_lines(stream, ""), _LOOKED_AT):
            record = line.value
            words = record.get("words") if isinstance(record, dict) else None
            if isinstance(words, list) and ("width" in record or not any(isinstance(word, str) for word in words)):
                return True
    except UnicodeDecodeError:  # zeros of a file that is no text
        pass
    return False


def _is_lines(path: Path) -> bool:
    return path.name.lower().endswith((".jsonl", ".jsonl.gz"))


def is_photo_file(path: Path) -> bool:
    """Whether a file is an image or a PDF, by its name or its content."""
    return path.name.lower().endswith(IMAGES) or is_document_file(path)


def is_photo_content(content: bytes) -> bool:
    """Whether what could stand in a file is read as an image or a PDF: no text."""
    return not content or _is_binary(content[:1024]) or is_document(content[:1024])


def _name(path: Path) -> str:
    return path.name.removesuffix(".gz").rpartition(".")[0] or path.name


def _said(problems: ProblemLog) -> tuple[str, ...]:
    """What is wrong with words that are read; they need no lines and no labels."""
    kinds = (kind for kind in problems.examples if kind is not ProblemKind.LINES_GUESSED)
    return tuple(str(one) for kind in kinds for one in problems.examples[kind])
