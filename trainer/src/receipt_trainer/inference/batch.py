"""Many documents through one reader: read on several threads, answers in order."""

from __future__ import annotations

import hashlib
import sys
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from receipt_trainer.data.sources.foreign import UnknownFormatError
from receipt_trainer.errors import UserError
from receipt_trainer.files import sha256_of
from receipt_trainer.inference.answers_file import AnswersFile
from receipt_trainer.inference.inputs import (
    IMAGES,
    STDIN,
    WORDS,
    Given,
    Inputs,
    Reader,
    RefusedError,
    files_below,
    is_photo_content,
    is_photo_file,
)

STDIN_NAME: Final = "stdin"
_NO_PHOTO: Final = "{}: no image or PDF; with --server no others are read"
AHEAD: Final = 4
"""Documents a thread that are read before the first of them is written: order costs so much memory."""


@dataclass(frozen=True, slots=True)
class ReadTask:
    """A document to be read and where it came from: what it is, or the path of a photo that is yet to be opened."""

    source: dict[str, Any]
    given: Given | Path


def files_of(inputs: Iterable[str], output: Path | None = None, *, photos_only: bool = False) -> list[Path | str]:
    """All files to read, see `files_below`; `STDIN` as it is.

    Args:
        photos_only: images and PDFs; of a folder no others are taken, and one that is named is a mistake.

    Raises:
        UserError: nothing is called so, or it is nothing to read.
    """
    found: list[Path | str] = []
    for name in inputs:
        files = [] if name == STDIN else files_below(name, IMAGES if photos_only else (*IMAGES, *WORDS), output)
        if photos_only and files == [Path(name)] and not is_photo_file(files[0]):
            raise UserError(_NO_PHOTO.format(name))
        found += files or [STDIN]
    return list(dict.fromkeys(found))


def answers(
    reader: Reader,
    inputs: Inputs,
    files: Iterable[Path | str],
    *,
    workers: int,
    named: Collection[str] = (),
    photos_only: bool = False,
    options: str,
    kept: AnswersFile | None,
    done: Callable[[], None],
) -> Generator[dict[str, Any], None, None]:
    """An answer or a refusal for each document, in order; what `kept` has already is left out.

    Whoever stops before its end closes it: threads read ahead.

    Args:
        workers: threads that read at the same time; they share the model.
        named: files that the user has named; others, found in a folder, are passed over if nothing knows them.
        photos_only: the reader reads nothing but images and PDFs.
        options: what else than the model the answers depend on.
        done: called after each file.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[dict[str, Any]]] = deque()
        try:
            for file in files:
                count, is_whole = 0, True
                for task in _tasks(inputs, file, options, named=str(file) in named, photos_only=photos_only):
                    count, is_whole = count + 1, bool(task.source["sha256"])
                    if kept is None or not kept.has(task.source):
                        waiting.append(pool.submit(_answer, reader, inputs, task))
                    while len(waiting) >= AHEAD * workers:
                        yield waiting.popleft().result()
                if kept is not None and is_whole:
                    kept.end_file(str(file), count)
                while waiting and waiting[0].done():
                    yield waiting.popleft().result()
                done()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _tasks(inputs: Inputs, file: Path | str, options: str, *, named: bool, photos_only: bool) -> Iterator[ReadTask]:
    """The documents of a file, those of words already taken apart, photos not yet looked at.

    What could not be read to its end has no hash.

    Raises:
        UserError: standard input is no photo, and the reader reads nothing else.
    """

    def source(number: int, digest: str) -> dict[str, Any]:
        return {"file": str(file), "sha256": digest, "document": number, "options": options}

    whole = ""  # of many receipts each has a hash of its own; that of all is made when a document wants it
    number = 0
    content = sys.stdin.buffer.read() if isinstance(file, str) else b""
    if isinstance(file, str) and photos_only and not is_photo_content(content):
        raise UserError(_NO_PHOTO.format("standard input"))
    try:
        name = STDIN_NAME if isinstance(file, str) else file.name
        if isinstance(file, Path) and inputs.is_photo(file):
            yield ReadTask(source(0, _hash(file)), file)
            return
        for given in inputs.of_file(file) if isinstance(file, Path) else inputs.of_bytes(content, name):
            if given.content is None:
                whole = whole or _hash(file, content)
            digest = whole if given.content is None else hashlib.sha256(given.content).hexdigest()
            yield ReadTask(source(number, digest), given)
            number += 1
        if number == 0:
            yield ReadTask(source(0, _hash(file, content)), Given(name, refusal="there is no document in it"))
    except UserError as error:
        if named or not isinstance(error, UnknownFormatError):  # a folder may hold other files, too
            yield ReadTask(source(number, ""), Given(name, refusal=str(error)))


def _hash(file: Path | str, content: bytes = b"") -> str:
    """Of a file, or of what came by standard input."""
    try:
        return sha256_of(file) if isinstance(file, Path) else hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None


def _answer(reader: Reader, inputs: Inputs, task: ReadTask) -> dict[str, Any]:
    given, name = task.given, task.given.name
    try:
        if isinstance(given, Path):
            given = next(inputs.of_file(given))
        answer = reader.answer(given)
    except RefusedError:
        raise
    except UserError as error:
        said = " ".join(str(error).split())
        for called in (name, task.source["file"]):  # which is said beside it
            said = said.removeprefix(f"{called}: ")
        return {"id": name, "source": task.source, "error": said}
    return {"id": answer["id"], "source": task.source, **answer}
