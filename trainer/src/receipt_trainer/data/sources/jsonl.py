"""Files of receipts as JSON lines, or as one JSON; what their words mean otherwise is said."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from gzip import GzipFile
from pathlib import Path
from typing import IO, Any, Final

from receipt_trainer.data.document import decoded, objects
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.boxes import SEVERAL, is_grid, reach, short_reach
from receipt_trainer.data.sources.clean import MAX_WORDS, strip_prefixes
from receipt_trainer.data.sources.formats.hugging_face import NAMES_OF_NUMBERS, class_labels, first_number
from receipt_trainer.data.sources.record import boxes_of, given_label, parse_record
from receipt_trainer.errors import UserError
from receipt_trainer.files import open_bytes

MAX_WHOLE: Final = 100_000_000
"""Bytes of the largest file that is read as one JSON."""
CODE_PAGE: Final = "Windows-1252"
"""The encoding of what is no Unicode."""
_SHOWN: Final = 40
"""Characters of a line that is no JSON, in a message."""
_BOM: Final = b"\xef\xbb\xbf"
_OPEN: Final = (b"[", b"{", b",")
"""How the first line ends of a JSON that goes on in the next."""


@dataclass(frozen=True, slots=True)
class JsonLine:
    """A receipt as it stands in a file.

    Attributes:
        row: of the line, or of the element of an array, from 1.
        place: `file:row`.
        value: what it holds, decoded; None where it cannot be.
        error: why it cannot be.
        content: the bytes it is made of.
        encoding: where it is not UTF-8.
    """

    row: int
    place: str
    value: Any
    error: str
    content: bytes
    encoding: str = ""


def read_lines(stream: IO[bytes] | GzipFile, name: str) -> Iterator[JsonLine]:
    """The lines that are not blank, or the elements of the array that the content is as a whole.

    UTF-8 with and without a byte-order mark, UTF-16 and UTF-32 are read, and lines that are none of these as
    Windows-1252. An object with a key twice is refused: one of the two values would be lost.
    """
    head: bytes = stream.peek(4) if hasattr(stream, "peek") else b""
    encoding: str = json.detect_encoding(head[:4])
    lines: Iterable[bytes] = stream
    if not encoding.startswith("utf-8"):
        lines = (line.encode("utf-8", "surrogatepass") for line in io.TextIOWrapper(stream, encoding))
    else:
        encoding = ""
    given = ((row, line) for row, line in enumerate(lines, start=1) if line.strip())
    for row, line in given:
        found = _line(row, f"{name}:{row}", line, encoding)
        if row == 1 and found.error and line.rstrip().endswith(_OPEN):
            rest = [line]
            yield from _whole(rest, given, name, encoding)
        elif isinstance(found.value, list):
            yield from _elements(found, name)
        else:
            yield from _parted(found)


def _whole(lines: list[bytes], more: Iterator[tuple[int, bytes]], name: str, encoding: str) -> list[JsonLine]:
    """What the lines are as one JSON, or as objects one after the other (`jq` writes such); else what each line is.

    Where not one line is JSON, the error is that of the whole.
    """
    size, found = 0, None
    for _, line in more:
        lines.append(line)
        size += len(line)
        if size > MAX_WHOLE:
            break
    else:
        found = _line(1, name, b"".join(lines), encoding)
        if isinstance(found.value, list):
            return list(_elements(found, name))
        parted = _parted(found)
        if not parted[0].error:
            return parted
    alone = [each for row, line in enumerate(lines, 1) for each in _parted(_line(row, f"{name}:{row}", line, encoding))]
    return [found] if found is not None and not any(isinstance(line.value, dict) for line in alone) else alone


def _parted(line: JsonLine) -> list[JsonLine]:
    """The objects that stand in a line one after the other; the line itself if it is no such."""
    found = objects(line.content.removeprefix(_BOM).decode(errors="replace")) if line.error else []
    return [JsonLine(line.row, line.place, value, "", text.encode(), line.encoding) for value, text in found] or [line]


def _elements(line: JsonLine, name: str) -> Iterator[JsonLine]:
    for n, each in enumerate(line.value):
        yield JsonLine(n + 1, f"{name}[{n}]", each, "", json.dumps(each).encode(), line.encoding)


def _line(row: int, place: str, line: bytes, encoding: str) -> JsonLine:
    try:
        text = line.removeprefix(_BOM).decode()
    except UnicodeDecodeError:
        text, encoding = line.decode("cp1252", errors="replace"), CODE_PAGE
    try:
        return JsonLine(row, place, decoded(text), "", line, encoding)
    except (ValueError, RecursionError) as error:
        shown = text.strip()[:_SHOWN]
        reason = error if shown.startswith(("{", "[")) else f"it begins with {shown!r}"
        return JsonLine(row, place, None, f"not JSON: {reason}", line, encoding)


def note_encoding(line: JsonLine, problems: ProblemLog) -> None:
    """Count a line that is not UTF-8."""
    if line.encoding:
        problems.add(ProblemKind.NOT_UTF8, problems.place or line.place, cause=f"read as {line.encoding}")


def lines_of(path: Path, said: str = "cannot read receipts") -> Iterator[JsonLine]:
    """The lines of a file, see `read_lines`; packed ones, too.

    Raises:
        UserError: it cannot be read; `said` stands before the reason.
    """
    try:
        with open_bytes(path) as stream:
            yield from read_lines(stream, path.name)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: {said}: {reason}") from None


def read_jsonl(
    path: Path, problems: ProblemLog, max_words: int = MAX_WORDS, label_names: Sequence[str] = ()
) -> Iterator[Receipt]:
    """The sound receipts of a file of JSON lines, or of one JSON; all others are in `problems`.

    Of two with one key the first counts, but for what a person has corrected: of that the latest.

    Tags of labels (B-, I-, E-, S-) are stripped where all of the file's labels have them.

    Args:
        label_names: names of labels that the file gives by number, in their order.

    Raises:
        UserError: the file is missing or is not what its name says; its labels are numbers without names; most of its
            lines are no receipts that can be used.
    """
    found: dict[str, Receipt] = {}
    label_names = label_names or class_labels(path)
    suspicion = Suspicion(str(path), has_names=bool(label_names))
    for line in lines_of(path):
        problems.place = line.place
        note_encoding(line, problems)
        receipt = None
        if line.error:
            problems.add(ProblemKind.BAD_RECORD, line.place, detail=line.error)
        else:
            receipt = parse_record(line.value, line.place, problems, max_words, label_names)
        again = found.get(receipt.key) if receipt is not None else None
        is_lost = receipt is None or (again not in (None, receipt) and receipt.review is None)
        suspicion.look(line.value, None if is_lost else receipt)
        if receipt is None:
            continue
        if again is not None and not receipt.corrects(again):
            problems.add(ProblemKind.DUPLICATE_RECEIPT, receipt.name)
            continue
        found[receipt.key] = receipt
        problems.places[receipt.key] = line.place
    problems.place = ""
    suspicion.judge(problems)
    yield from strip_prefixes(found.values(), problems)


def records(path: Path) -> Iterator[tuple[str, Any]]:
    """What each line, or element of an array, holds, and its place; lines that cannot be decoded are passed over.

    Raises:
        UserError: the file cannot be read.
    """
    yield from ((line.place, line.value) for line in lines_of(path) if not line.error)


@dataclass(slots=True)
class Suspicion:
    """Whether a file means something else than receipts of ours."""

    name: str
    has_names: bool = True
    records: int = 0
    unusable: int = 0
    numbered: object = None
    on_grid: int = 0
    reaches: list[float] = field(default_factory=list)

    def look(self, record: Any, receipt: Receipt | None) -> None:
        """Count a record, and the receipt that it is; None where it cannot be used, all or most of it."""
        self.records += 1
        self.unusable += receipt is None
        if receipt is not None:
            self.reaches.append(reach([word.box for word in receipt.words]))
        words = record.get("words") if isinstance(record, dict) else None
        if not isinstance(words, list) or not words:
            return
        if not self.has_names and self.numbered is None:
            labels = record.get("ner_tags") if isinstance(words[0], str) else [given_label(word) for word in words]
            self.numbered = first_number(labels if isinstance(labels, list) else [])
        if self.on_grid == self.records - 1 and is_grid(*boxes_of(record)):
            self.on_grid += 1

    def judge(self, problems: ProblemLog) -> None:
        """Refuse what cannot be meant so, and note what hardly can.

        Raises:
            UserError: labels are numbers and nobody says their names; most records cannot be used.
        """
        if self.numbered is not None:
            raise UserError(f"{self.name}: label {self.numbered} is a number: say the labels' names{NAMES_OF_NUMBERS}")
        if 2 * self.unusable > self.records:
            raise UserError(
                f"{self.name}: {self.unusable} of {self.records} receipts cannot be used, all or most of each"
                f"{problems.said()}"
            )
        cause = short_reach(self.reaches)
        if self.on_grid == self.records >= SEVERAL:
            cause = "no box reaches beyond 1000 on larger pages: LayoutLM's grid of 0..1000, not pixels?"
        if cause:
            problems.add(ProblemKind.BOXES_DOUBTFUL, self.name, detail=f"{self.records} receipts", cause=cause)
