"""A file of answers that grows line by line, survives a kill, and is not written twice."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from receipt_trainer.errors import UserError
from receipt_trainer.files import FULL, disk_full, replacing

Place = tuple[str, int]
"""A file as it was named, and which of its documents."""


@dataclass(slots=True)
class AnswersFile:
    """Answers with `source` {file, sha256, document, options}, one JSON a line.

    Attributes:
        end: bytes of its complete lines.
        kept: for each place the hash of what was read, by this model with these options.
        counts: how many documents of each file have a line, whoever read them.
        gone: places whose lines are taken out.
        stale: whether lines are in the file that others replace.
    """

    path: Path
    stream: IO[bytes]
    end: int = 0
    kept: dict[Place, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    gone: set[Place] = field(default_factory=set)
    stale: bool = False
    _by_hash: dict[str, Place] = field(init=False)

    def __post_init__(self) -> None:
        self._by_hash = {digest: place for place, digest in self.kept.items()}

    def has(self, source: Mapping[str, Any]) -> bool:
        """Whether this is answered, and has not changed since."""
        return bool(self.kept.get((source["file"], source["document"])) == source["sha256"])

    def write(self, line: Mapping[str, Any]) -> None:
        """Add an answer, or a refusal; it is in the file when this returns."""
        source = line["source"]
        place = source["file"], source["document"]
        count = self.counts.get(place[0], 0)
        self.stale |= place[1] < count
        self.counts[place[0]] = max(count, place[1] + 1)
        self.kept[place] = source["sha256"]
        before = self._by_hash.get(source["sha256"])
        if before is not None and before[0] != place[0] and not os.path.lexists(before[0]):
            self.gone.add(before)  # the file has another name now
        content = json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        self.stream.write(content)
        self.stream.flush()
        self.end += len(content)

    def end_file(self, file: str, count: int) -> None:
        """A file has so many documents now: lines of later ones are of another content."""
        self.gone |= {(file, number) for number in range(count, self.counts.get(file, 0))}


@contextmanager
def open_answers(path: Path, version: str, options: str) -> Iterator[AnswersFile]:
    """Open a file to go on with it.

    An unfinished last line is cut off. Answers of another model or other options, and refusals, count as not there.
    When the block ends, what has been read anew replaces what was there, and answers of documents that their file no
    longer has, or that were read again under its new name, are taken out.

    Raises:
        UserError: it cannot be written, or holds something else than answers.
        WorldError: the disk is full; the file ends with its last complete line.
    """
    answers: AnswersFile | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: not a file that can be gone on with; without it, answers go to standard output")
        end, kept, counts, stale = _scan(path, version, options)
        with path.open("r+b" if path.exists() else "w+b") as stream:
            stream.truncate(end)
            stream.seek(end)
            answers = AnswersFile(path, stream, end, kept, counts, stale=stale)
            try:
                yield answers
            finally:
                stream.flush()
                os.fsync(stream.fileno())
        if answers.stale or answers.gone:
            _compact(path, answers.gone)
    except OSError as error:
        if error.errno not in FULL:
            raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
        if answers is not None:
            os.truncate(path, answers.end)
        raise disk_full(path) from error


def _scan(path: Path, version: str, options: str) -> tuple[int, dict[Place, str], dict[str, int], bool]:
    """What an `AnswersFile` begins with: end, kept, counts and stale."""
    kept: dict[Place, str] = {}
    seen: set[Place] = set()
    counts: dict[str, int] = {}
    end = rows = 0
    if not path.exists():
        return end, kept, counts, False
    with path.open("rb") as stream:
        for row, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                break  # a run was killed while it wrote this
            place, digest = _place(line, f"{path}:{row}", version, options)
            kept.pop(place, None)
            if digest is not None:
                kept[place] = digest
            seen.add(place)
            counts[place[0]] = max(counts.get(place[0], 0), place[1] + 1)
            rows, end = row, end + len(line)
    return end, kept, counts, rows > len(seen)


def _place(line: bytes, where: str, version: str, options: str) -> tuple[Place, str | None]:
    """Place and hash of an answer; no hash of a refusal and of what another model read.

    Raises:
        UserError: it is no answer of this program.
    """
    try:
        found = json.loads(line)
        source = found["source"]
        place = str(source["file"]), int(source["document"])
        current = "error" not in found and (found["model"]["version"], source["options"]) == (version, options)
        return place, str(source["sha256"]) if current else None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{where}: not an answer of this command; give another --output") from None


def _compact(path: Path, gone: Collection[Place]) -> None:
    """Keep the last line of each place that is not gone."""
    last: dict[Place, int] = {}
    with path.open("rb") as stream:
        for row, line in enumerate(stream):
            source = json.loads(line)["source"]
            last[str(source["file"]), int(source["document"])] = row
    rows = {row for place, row in last.items() if place not in gone}
    with path.open("rb") as stream, replacing(path) as out:
        for row, line in enumerate(stream):
            if row in rows:
                out.write(line.decode())
