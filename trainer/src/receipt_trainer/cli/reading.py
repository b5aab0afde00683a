"""Many documents through one reader: files found, read on several threads, answers in order."""

from __future__ import annotations

import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from receipt_trainer.errors import UserError
from receipt_trainer.inference.answers_file import AnswersFile
from receipt_trainer.inference.document_reader import DocumentReader
from receipt_trainer.inference.inputs import IMAGES, STDIN, WORDS, Given, Inputs

AHEAD: Final = 4
"""Documents a thread that are read before the first of them is written: order costs so much memory."""


@dataclass(frozen=True, slots=True)
class ReadTask:
    """A document to be read: what is known of it, and where it came from; `given` is None for a file of one photo."""

    source: dict[str, Any]
    path: Path | None
    given: Given | None
    content: bytes | None = None


def files_of(inputs: Sequence[str]) -> list[Path | str]:
    """All files to read: those named, and of folders those that may be documents, by name; hidden ones left out.

    Raises:
        UserError: a name is nothing, or a folder has no such file.
    """
    found: list[Path | str] = []
    for name in inputs:
        path = Path(name)
        if name == STDIN:
            found.append(STDIN)
        elif path.is_dir():
            inner = sorted(_inside(path))
            if not inner:
                raise UserError(f"{name}: no photo, PDF or file of words in this folder")
            found += inner
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{name}: no such file or folder")
    return found


def _inside(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith(".") and name.lower().endswith((*IMAGES, *WORDS)):
                yield Path(place, name)


def answers(
    reader: DocumentReader,
    inputs: Inputs,
    files: Iterable[Path | str],
    *,
    workers: int,
    named: Collection[str] = (),
    options: str,
    kept: AnswersFile | None,
    done: Callable[[], None],
) -> Iterator[dict[str, Any]]:
    """An answer or a refusal for each document, in order; what `kept` has already is left out.

    Args:
        workers: threads that read at the same time; they share the model.
        named: files that the user has named; others, found in a folder, are passed over if nothing knows them.
        options: what else than the model the answers depend on.
        done: called after each file.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[dict[str, Any]]] = deque()
        try:
            for file in files:
                for task in _tasks(inputs, file, options, named=str(file) in named):
                    if kept is None or not kept.has(task.source):
                        waiting.append(pool.submit(_answer, reader, inputs, task))
                    while len(waiting) >= AHEAD * workers:
                        yield waiting.popleft().result()
                while waiting and waiting[0].done():
                    yield waiting.popleft().result()
                done()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _tasks(inputs: Inputs, file: Path | str, options: str, *, named: bool) -> Iterator[ReadTask]:
    """The documents of a file, those of words already taken apart, photos not yet looked at."""

    def source(number: int, content: bytes | None, whole: str = "") -> dict[str, Any]:
        digest = whole if content is None else hashlib.sha256(content).hexdigest()
        return {"file": str(file), "sha256": digest, "document": number, "options": options}

    if isinstance(file, str):
        content = sys.stdin.buffer.read()
        if content.lstrip()[:1] != b"{":
            yield ReadTask(source(0, content), None, None, content)
            return
        for number, given in enumerate(inputs.of_bytes(content, "stdin")):
            yield ReadTask(source(number, given.content), None, given)
        return
    try:
        whole = "" if file.name.endswith((".jsonl", ".jsonl.gz")) else _hash(file)
        if inputs.is_photo(file):
            yield ReadTask(source(0, None, whole), file, None)
            return
        if not named and not inputs.is_known(file):
            return  # a folder may hold other files, too
        for number, given in enumerate(inputs.of_file(file)):
            yield ReadTask(source(number, given.content, whole), None, given)
    except UserError as error:
        yield ReadTask(source(0, None, ""), None, Given(file.name, refusal=str(error)))


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def _answer(reader: DocumentReader, inputs: Inputs, task: ReadTask) -> dict[str, Any]:
    given = task.given
    name = given.name if given else task.path.name if task.path else "stdin"
    try:
        if given is None:
            given = next(inputs.of_file(task.path) if task.path else inputs.of_bytes(task.content or b"", name))
        if given.words is None:
            return {"id": given.name, "source": task.source, "error": given.refusal}
        answer = reader.answer(given)
    except UserError as error:
        return {"id": name, "source": task.source, "error": " ".join(str(error).split())}
    return {"id": answer["id"], "source": task.source, **answer}


def page_numbers(text: str) -> frozenset[int]:
    """ "1-3,7" as page numbers.

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
            raise UserError(f"--pages {text}: write 1, 2-4 or 1,3-5")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)
