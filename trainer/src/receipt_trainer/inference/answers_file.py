"""A file of answers that grows line by line, survives a kill, and is not written twice."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
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
        kept: for each place the hash of what was read, by this model with these options.
        stale: whether lines are in the file that others replace.
        end: bytes of its complete lines.
    """

    path: Path
    stream: IO[bytes]
    end: int = 0
    kept: dict[Place, str] = field(default_factory=dict)
    stale: bool = False

    def has(self, source: Mapping[str, Any]) -> bool:
        """Whether this is answered, and has not changed since."""
        return bool(self.kept.get((source["file"], source["document"])) == source["sha256"])

    def write(self, line: Mapping[str, Any]) -> None:
        """Add an answer, or a refusal; it is in the file when this returns."""
        source = line["source"]
        place = source["file"], source["document"]
        self.stale |= place in self.kept
        self.kept[place] = source["sha256"]
        content = json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        self.stream.write(content)
        self.stream.flush()
        self.end += len(content)


@contextmanager
def open_answers(path: Path, version: str, options: str) -> Iterator[AnswersFile]:
    """Open a file to go on with it.

    An unfinished last line is cut off. Answers of another model or other options, and refusals, count as not there;
    they are taken out when the block ends, and so are answers of what has been read anew.

    Raises:
        UserError: it cannot be written, or holds something else than answers.
        WorldError: the disk is full; the file ends with its last complete line.
    """
    answers: AnswersFile | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: not a file that can be gone on with; without it, answers go to standard output")
        end, kept, stale = _scan(path, version, options)
        with path.open("r+b" if path.exists() else "w+b") as stream:
            stream.truncate(end)
            stream.seek(end)
            answers = AnswersFile(path, stream, end, kept, stale)
            try:
                yield answers
            finally:
                stream.flush()
                os.fsync(stream.fileno())
        if answers.stale:
            _compact(path, version, options)
    except OSError as error:
        if error.errno not in FULL:
            raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
        if answers is not None:
            os.truncate(path, answers.end)
        raise disk_full(path) from error


def _scan(path: Path, version: str, options: str) -> tuple[int, dict[Place, str], bool]:
    kept: dict[Place, str] = {}
    end, stale = 0, False
    if not path.exists():
        return end, kept, stale
    with path.open("rb") as stream:
        for row, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                break  # a run was killed while it wrote this
            place = _place(line, f"{path}:{row}", version, options)
            stale |= place is None or place[0] in kept
            if place is not None:
                kept[place[0]] = place[1]
            end += len(line)
    return end, kept, stale


def _place(line: bytes, where: str, version: str, options: str) -> tuple[Place, str] | None:
    """Place and hash of an answer; None for a refusal and for what another model read.

    Raises:
        UserError: it is no answer of this program.
    """
    try:
        found = json.loads(line)
        source = found["source"]
        place = str(source["file"]), int(source["document"])
        current = "error" not in found and (found["model"]["version"], source["options"]) == (version, options)
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{where}: not an answer of this command; give another --output") from None
    return (place, str(source["sha256"])) if current else None


def _compact(path: Path, version: str, options: str) -> None:
    """Keep the last line of each place; a refusal only where nothing else was read."""
    last: dict[Place, int] = {}
    with path.open("rb") as stream:
        for row, line in enumerate(stream):
            source = json.loads(line)["source"]
            last[str(source["file"]), int(source["document"])] = row
    rows = set(last.values())
    with path.open("rb") as stream, replacing(path) as out:
        for row, line in enumerate(stream):
            if row in rows:
                out.write(line.decode())
