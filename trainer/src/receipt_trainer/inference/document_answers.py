"""Pages of documents through a model that writes JSON: one checked answer a page."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from PIL import Image

from receipt_trainer.data.amount_checks import arithmetic_problems
from receipt_trainer.data.document import DOCUMENT_SCHEMA, check, no_object, read_strictly
from receipt_trainer.data.document_set import ExampleError
from receipt_trainer.errors import UserError
from receipt_trainer.files import sha256_of
from receipt_trainer.inference.answers_file import AnswersFile
from receipt_trainer.inference.document_server import PageError
from receipt_trainer.pages.documents import open_pages

WINDOW: Final = 4
"""Batches of pages that wait together, of which those that are likely to have answers of like length are asked at once:
in a batch all wait for the longest answer."""
_MOST_PIXELS: Final = 200_000_000
"""Of the pages that wait, 600 MB, unless a batch has more."""
_LOOKED_AT: Final = 400_000
"""Pixels of a page from which the length of its answer is guessed."""
_LONGEST_SIDE: Final = 8000
"""Of what is looked at: a JPEG has no longer ones than eight times that."""

Ask = Callable[[Sequence[Image.Image]], list[str]]
"""Upright RGB pages in, the texts of their answers out; PageError, ExampleError: a page cannot be answered."""


@dataclass(frozen=True, slots=True)
class _AskedPage:
    source: dict[str, Any]
    number: int
    of_pages: int
    image: Image.Image


def version_of(asked: Mapping[str, Any]) -> str:
    """A name for everything that answers depend on besides the pages, JSON values."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def answer_documents(
    files: Iterable[Path],
    ask: Ask,
    *,
    model: Mapping[str, Any],
    batch_size: int,
    kept: AnswersFile,
    done: Callable[[], None],
    schema: Mapping[str, Any] = DOCUMENT_SCHEMA,
) -> Iterator[dict[str, Any]]:
    """A line for each page that is not in `kept` yet: an answer with its problems, or a refusal ("error").

    They come in the order in which pages are asked: some batches wait and are sorted by how much stands on a page, so
    that those of one batch have answers of like length.

    Args:
        ask: is given `batch_size` pages at most.
        model: name and version, for the lines.
        done: called after each file, when all its pages have their lines.
        schema: of what was asked for.

    Raises:
        RefusedError: the server refuses its key, or has no such model.
        WorldError: the model cannot be asked.
    """
    most = batch_size * WINDOW if batch_size > 1 else 1
    waiting: list[_AskedPage] = []
    read = 0  # files whose pages all wait or have their lines
    for file in files:
        for page in _pages(file, kept):
            if not isinstance(page, _AskedPage):
                yield page
                continue
            waiting.append(page)
            is_much = sum(one.image.width * one.image.height for one in waiting) > _MOST_PIXELS
            if len(waiting) % batch_size == 0 and (is_much or len(waiting) == most):
                yield from _by_length(waiting, ask, batch_size, model, schema)
                waiting = []
                for _ in range(read):
                    done()
                read = 0
        read += 1
    yield from _by_length(waiting, ask, batch_size, model, schema)
    for _ in range(read):
        done()


def _pages(file: Path, kept: AnswersFile) -> Iterator[_AskedPage | dict[str, Any]]:
    """The pages of a file that have no answer yet; last, where it cannot be read further, the line that says so."""
    try:
        digest = sha256_of(file)
        for page in open_pages(file):
            source = _source(file, page.number - 1, digest)
            if not kept.has(source):
                yield _AskedPage(source, page.number, page.of_pages, page.image)
    except OSError as error:
        yield _refusal(_source(file, 0, ""), file, UserError(f"cannot be read: {error.strerror or error}"))
    except UserError as error:
        yield _refusal(_source(file, 0, ""), file, error)


def fullness(image: Image.Image) -> int:
    """Bytes of a page as a small and bad JPEG: the more is printed on it, the more they are, and the longer its answer.

    On drawn documents its rank correlation with the length of the true answer is 0.7, that of image tokens 0.1
    (benchmarks/vl_batches.py).
    """
    scale = min(1.0, math.sqrt(_LOOKED_AT / (image.width * image.height)))
    size = [min(_LONGEST_SIDE, max(1, int(side * scale))) for side in image.size]
    written = io.BytesIO()
    image.convert("L").resize((size[0], size[1]), Image.Resampling.BOX).save(written, "JPEG", quality=30)
    return len(written.getvalue())


def _source(file: Path, document: int, digest: str) -> dict[str, Any]:
    return {"file": str(file), "sha256": digest, "document": document, "options": ""}


def _by_length(
    pages: Sequence[_AskedPage], ask: Ask, batch_size: int, model: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    ordered = sorted(pages, key=lambda page: fullness(page.image)) if len(pages) > batch_size else pages
    for start in range(0, len(pages), batch_size):
        yield from _answers(ordered[start : start + batch_size], ask, model, schema)


def _answers(
    pages: Sequence[_AskedPage], ask: Ask, model: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    began = perf_counter()
    try:
        texts = ask([page.image for page in pages])
    except (PageError, ExampleError) as error:
        if len(pages) == 1:
            yield _refusal(pages[0].source, Path(pages[0].source["file"]), error)
        else:  # which of them is to blame shows one by one
            for page in pages:
                yield from _answers([page], ask, model, schema)
        return
    seconds = round((perf_counter() - began) / len(pages), 3)
    for page, text in zip(pages, texts, strict=True):
        document = read_strictly(text)
        problems = [no_object(text)] if document is None else check(document, schema)
        problems += arithmetic_problems(document) if document is not None and not problems else []
        yield {
            "id": _name(Path(page.source["file"]), page.number, page.of_pages),
            "source": page.source,
            "model": dict(model),
            "page": page.number,
            "of_pages": page.of_pages,
            "document": document,
            "problems": problems,
            "review": bool(problems),
            "text": text,
            "seconds": seconds,
        }


def _name(file: Path, number: int, of_pages: int) -> str:
    return file.name if of_pages == 1 else f"{file.name}#{number}"


def _refusal(source: dict[str, Any], file: Path, error: UserError) -> dict[str, Any]:
    said = " ".join(str(error).split()).removeprefix(f"{file}: ")
    return {"id": file.name, "source": source, "error": said}
