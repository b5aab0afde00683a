"""Files of other programs as documents and receipts: recognised by content, or read as the format that is named."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from receipt_trainer.data.document import decoded, objects
from receipt_trainer.data.page_words import DocumentWords, PageWord, PageWords, line_numbers, straightened
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt, Word, image_id_for
from receipt_trainer.data.sources.boxes import likely_cause, reach, short_reach
from receipt_trainer.data.sources.clean import MAX_WORDS, clean, is_name, sound_box, strip_prefixes
from receipt_trainer.data.sources.formats import (
    azure,
    cord,
    doctr,
    funsd,
    hocr,
    hugging_face,
    label_studio,
    paddleocr,
    sroie,
    tesseract,
    textract,
    vision,
)
from receipt_trainer.data.sources.formats.pages import FileReading, Format
from receipt_trainer.data.sources.record import is_page, is_record, records_under
from receipt_trainer.errors import UserError
from receipt_trainer.files import open_bytes
from receipt_trainer.pages.kinds import IMAGE_ENDINGS

OWN: Final = "jsonl"
"""Name of our own format: JSON lines, or one JSON array, of receipts."""

FORMATS: Final[dict[str, Format]] = {
    each.FORMAT.name: each.FORMAT
    for each in (
        *(textract, vision, azure, doctr, label_studio, funsd, cord, hugging_face, paddleocr),
        *(tesseract, hocr, sroie),
    )
}
"""In the order in which they are tried."""

NAMES: Final = (OWN, *FORMATS)

MAX_BYTES: Final = 100_000_000
"""Bytes of the largest file that is read as a whole, unpacked."""

_HEAD = 65_536  # characters of a text that a format is recognised by
_SHOWN = 6
_DEEP = 3  # levels of keys that are compared with those of formats
_TINY = 0.005  # part of a page: where all its words lie within that, their boxes are 0..1 and taken for pixels
_WORST = 0.5  # part of a page's words outside it from which the page is not believed


class UnknownFormatError(UserError):
    """A file that is none of the formats."""


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file's text and, where it is JSON or JSON lines, its values with their places.

    What a line that is no JSON is told by has the place of its value.
    """

    text: str
    values: list[tuple[str, Any]]


def detect(path: Path, content: bytes | None = None) -> str | None:
    """The format of a file, or of the first file in a folder that has one; None if there is none.

    Args:
        content: what stands in the file, where it is in memory only.

    Raises:
        UserError: it cannot be read.
    """
    for file in files_of(path) if content is None else [path]:
        found = format_of(content_of(file, content))
        if found is not None:
            return found
    return None


def read_foreign(
    path: Path,
    format: str | None = None,
    *,
    problems: ProblemLog | None = None,
    label_names: Iterable[str] = (),
    content: bytes | FileContent | None = None,
    is_draft: bool = False,
) -> Iterator[DocumentWords]:
    """The documents of a file, or of all files in a folder, in the order of their names.

    Args:
        format: one of `FORMATS`; by default it is recognised. Of a folder, only files of that format are read.
        problems: takes what is wrong with words and labels, and the files of a folder that cannot be understood.
        label_names: names of labels that the files give by number, in their order.
        content: what stands in the file, where that is in memory, or has been read by `content_of`.
        is_draft: give the documents whatever their boxes are, for a person to look at.

    Raises:
        UnknownFormatError: it is none of the formats.
        UserError: no such file, a format that is not known, or boxes that cannot be meant so.
    """
    log = ProblemLog() if problems is None else problems
    if format is not None and format not in FORMATS:
        raise UserError(f"format '{format}' is not known: use one of {', '.join(FORMATS)}")
    names = tuple(label_names)
    if content is not None or not path.is_dir():
        yield from _read_file(FileReading(path, log, names, is_draft=is_draft), format, content)
        return
    understood = False
    for file in files_of(path):
        try:
            inside = content_of(file)
            found = format_of(inside)
            if found not in FORMATS or format not in (None, found):
                _pass_over(file, inside, found, log)
                continue
            for document in _read(FileReading(file, log, names, is_draft=is_draft), FORMATS[found], inside):
                understood = True
                yield document
        except UserError as error:
            log.add(ProblemKind.BAD_RECORD, file.name, detail=str(error))
    if not understood:
        raise UserError(f"{path}: no file in it is {_expected(format)}{log.said()}")


def _pass_over(file: Path, content: FileContent, found: str | None, log: ProblemLog) -> None:
    """A file that is not read is named, unless it completes others (keys of SROIE, say)."""
    beside = any(each.is_beside and each.is_beside(value) for each in FORMATS.values() for _, value in content.values)
    if not beside:
        log.add(ProblemKind.BAD_RECORD, file.name, detail=f"passed over: {found or 'no known format'}")


def _read_file(reading: FileReading, format: str | None, data: bytes | FileContent | None) -> Iterator[DocumentWords]:
    content = data if isinstance(data, FileContent) else content_of(reading.path, data)
    found = format or format_of(content)
    if found is None or found not in FORMATS:
        raise UnknownFormatError(f"{reading.path}: it is not {_expected(None)}{_near(content)}")
    wanted = FORMATS[found]
    if not _is_text(wanted, content) and not any(_is(wanted, value) for _, value in content.values):
        raise UserError(f"{reading.path}: not {found}, which has {wanted.expected}{_near(content)}")
    yield from _read(reading, wanted, content)


def _read(reading: FileReading, format: Format, content: FileContent) -> Iterator[DocumentWords]:
    reading = replace(reading, values=content.values)
    if format.read_text is not None and _is_text(format, content):
        reading.problems.place = reading.path.name
        for document in format.read_text(reading, content.text):
            yield _believed(document, reading)
        return
    if format.read_json is None:
        return
    for place, value in content.values:
        if not _is(format, value):
            reason = f"not JSON: {value}" if isinstance(value, ValueError) else f"not {format.name}"
            reading.problems.add(ProblemKind.BAD_RECORD, reading.path.name, place, reason)
            continue
        reading.problems.place = f"{reading.path.name}{place.replace('line ', ':')}"
        for document in format.read_json(reading, value):
            yield _believed(document, reading)


def _is_text(format: Format, content: FileContent) -> bool:
    return format.is_text is not None and format.is_text(content.text[:_HEAD])


def _is(format: Format, value: Any) -> bool:
    return format.is_json is not None and format.is_json(value)


def _believed(document: DocumentWords, reading: FileReading) -> DocumentWords:
    """The document, if most words of each page lie on it and cover some of it.

    Raises:
        UserError: they do not.
    """
    for page in () if reading.is_draft else document.pages:
        tiny = all(max(word.box[2] / page.width, word.box[3] / page.height) < _TINY for word in page.words)
        outside = [word.box for word in page.words if tiny or not _is_on(word, page)]
        if len(outside) > _WORST * len(page.words):
            boxes = [word.box for word in page.words]
            raise UserError(
                f"{reading.path}: {len(outside)} of {len(boxes)} words of {document.name}, page {page.number}, have "
                f"no box on the page of {page.width:g} by {page.height:g}"
                f"{likely_cause(boxes, page.width, page.height)}; nothing of it is read"
            )
    return document


def _is_on(word: PageWord, page: PageWords) -> bool:
    x0, y0, x1, y1 = word.box
    return (
        sound_box((x0 / page.width, y0 / page.height, x1 / page.width, y1 / page.height), "", "", ProblemLog())
        is not None
    )


def receipts_of(document: DocumentWords, problems: ProblemLog, max_words: int = MAX_WORDS) -> list[Receipt]:
    """A receipt for each page, cleaned; several pages have names of their own.

    Words of a source without visual rows are put in rows by their boxes, and in a row from left to right.
    """
    found = []
    for page in document.pages:
        name = document.name if len(document.pages) == 1 else f"{document.name} page {page.number}"
        if not is_name(name) or not is_page(page.width, page.height):
            detail = f"a receipt cannot be called so or be {page.width:g} by {page.height:g}"
            problems.add(ProblemKind.BAD_RECORD, name[:80], detail=detail)
            continue
        receipt = Receipt(
            image_id=document.image_id or image_id_for(document.source, name),
            receipt_id=document.receipt_id if len(document.pages) == 1 else page.number,
            words=(),
            name=name,
            source=document.source,
            split=document.split,
            width=round(page.width),
            height=round(page.height),
            extra=document.extra,
            review=document.review,
        )
        placed = dict(_words(page, name, problems))
        sound = clean(replace(receipt, words=tuple(placed.values())), problems, max_words, list(placed))
        if sound is not None:
            found.append(sound)
    return found


def _words(page: PageWords, name: str, problems: ProblemLog) -> Iterator[tuple[str, Word]]:
    order = list(range(len(page.words)))
    if all(word.line is not None for word in page.words):
        lines = [word.line or 0 for word in page.words]
    else:
        lines = line_numbers([word.box for word in page.words])
        order.sort(key=lambda n: (lines[n], page.words[n].box[0]))
    boxes = straightened(page)
    for n in order:
        word = page.words[n]
        x0, y0, x1, y1 = boxes[n]
        where = f"word {n}"
        scaled = (x0 / page.width, y0 / page.height, x1 / page.width, y1 / page.height)
        box = sound_box(scaled, name, where, problems)
        if box is not None:
            yield where, Word(word.text, box, lines[n], word.labels, word.confidence, word.extra)


def read_receipts(
    path: Path,
    problems: ProblemLog,
    *,
    format: str | None = None,
    max_words: int = MAX_WORDS,
    label_names: Iterable[str] = (),
) -> list[Receipt]:
    """The receipts of a foreign file or folder; prefixes of labels (B-, I-) are stripped."""
    documents = read_foreign(path, format, problems=problems, label_names=label_names)
    receipts = []
    for document in documents:
        for receipt in receipts_of(document, problems, max_words):
            problems.places[receipt.key] = problems.place
            receipts.append(receipt)
    problems.place = ""
    if cause := short_reach([reach([word.box for word in receipt.words]) for receipt in receipts]):
        problems.add(ProblemKind.BOXES_DOUBTFUL, str(path), detail=f"{len(receipts)} receipts", cause=cause)
    return strip_prefixes(receipts, problems)


def files_of(path: Path) -> Iterator[Path]:
    """The file, or those of a folder that are no images and not hidden."""
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.is_file() and not hidden and file.suffix.lower() not in IMAGE_ENDINGS:
            yield file


def content_of(path: Path, data: bytes | None = None) -> FileContent:
    """The file as text and JSON.

    Raises:
        UserError: it cannot be read, is too large or no text.
    """
    try:
        if data is None:
            with open_bytes(path) as stream:
                if stream.peek(4)[:4] == hugging_face.PARQUET:
                    return FileContent("", hugging_face.parquet_rows(path, None, MAX_BYTES))
                data = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: cannot be read: {reason}") from None
    if len(data) > MAX_BYTES:
        raise UserError(f"{path}: more than {MAX_BYTES // 1_000_000} MB; split it")
    if data.startswith(hugging_face.PARQUET):
        return FileContent("", hugging_face.parquet_rows(path, data, MAX_BYTES))
    text = _decoded(data, path)
    if text.lstrip()[:1] not in ("{", "["):
        return FileContent(text, [])
    try:
        return FileContent(text, [("", decoded(text))])
    except RecursionError:
        raise UserError(f"{path}: not JSON that can be read: nested too deep") from None
    except ValueError as error:
        if not isinstance(error, json.JSONDecodeError):  # one of the two values would be lost
            raise UserError(f"{path}: not JSON: {error}") from None
        values = list(_lines(text))
        if not any(isinstance(value, dict | list) for _, value in values):
            values = [(f"object {n}", value) for n, (value, _) in enumerate(objects(text), start=1)]
        return FileContent(text, values if any(not isinstance(value, ValueError) for _, value in values) else [])


def _decoded(data: bytes, path: Path) -> str:
    encoding = json.detect_encoding(data[:4])
    if b"\0" in data[:_HEAD] and encoding.startswith("utf-8"):
        raise UserError(f"{path}: it is no text but an image, a PDF or a program's own file; words are wanted here")
    try:
        return data.decode("utf-8-sig" if encoding.startswith("utf-8") else encoding)
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _lines(text: str) -> Iterator[tuple[str, Any]]:
    """The values of JSON lines; a line that is none comes as the error."""
    for row, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield f"line {row}", decoded(line)
            except ValueError as error:
                yield f"line {row}", error
            except RecursionError:
                yield f"line {row}", ValueError("nested too deep")


def format_of(content: FileContent) -> str | None:
    """The format that a file's content has; None if it has none."""
    for format in FORMATS.values():
        if _is_text(format, content):
            return format.name
    first = [value for _, value in islice(content.values, _SHOWN) if not isinstance(value, ValueError)]
    for format in FORMATS.values():
        if first and _is(format, first[0]):
            return format.name
    return OWN if first and is_record(first[0][0] if isinstance(first[0], list) and first[0] else first[0]) else None


def _expected(format: str | None) -> str:
    return f"{format}, which has {FORMATS[format].expected}" if format else f"one of {', '.join(NAMES)}"


def _near(content: FileContent) -> str:
    """What the file has, and the format whose words are most like it."""
    if not content.values:
        first = content.text.lstrip().partition("\n")[0][:60]
        return f"; it begins with {first!r}" if first else "; it is empty"
    keys = list(dict.fromkeys(_keys([value for _, value in content.values[:_SHOWN]], _DEEP)))
    if under := records_under(content.values[0][1]):
        return f"; {under}"
    common = {name: sum(key in format.expected for key in keys if len(key) > 3) for name, format in FORMATS.items()}
    best = max(common, key=lambda name: common[name])
    shown = f"; it is JSON with {', '.join(keys[:_SHOWN])}" if keys else "; it is JSON without keys"
    return shown + (f"; nearest is {best}, which has {FORMATS[best].expected}" if common[best] else "")


def _keys(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (str(key)[:30] for key in islice(value, 40))
        for inner in islice(value.values(), 40) if depth else ():
            yield from _keys(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value[:3]:
            yield from _keys(inner, depth)
