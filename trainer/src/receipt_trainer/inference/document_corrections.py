"""Corrections of documents that a model has written, as training lines of its family: a page's picture, its JSON."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from receipt_trainer.data.document import DOCUMENT_SCHEMA, canonical_json, check
from receipt_trainer.data.document_set import VlExample, read_examples, to_line
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.files import write_atomically
from receipt_trainer.inference.inputs import DrawnPage
from receipt_trainer.pages.documents import MAX_PAGES


def _sound(document: dict[str, Any]) -> dict[str, Any]:
    if problems := check(document):
        raise ValueError(problems[0])
    return document


class CorrectedDocument(BaseModel):
    """All that a page says, in the form of a training line's answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    page: int = Field(ge=1, le=1_000_000)
    document: Annotated[dict[str, Any], AfterValidator(_sound), WithJsonSchema(DOCUMENT_SCHEMA)]


class DocumentCorrection(BaseModel):
    """What a person made of an answer: `documents` as the answer has them, put right."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    documents: list[CorrectedDocument] = Field(min_length=1, max_length=MAX_PAGES)

    @property
    def by_page(self) -> dict[int, dict[str, Any]]:
        """The documents by the number of their page; of two of one page the last."""
        return {one.page: one.document for one in self.documents}


@dataclass(frozen=True, slots=True)
class SavedDocument:
    """What was kept of a correction: the answer of `:correct`."""

    id: str
    saved_to: Literal["file"]
    num_pages: int


class DocumentCorrections:
    """A file of training lines, with the pages' pictures in a folder beside; `vl train` reads both."""

    def __init__(self, path: Path) -> None:
        """Go on with a file, or begin one with the first correction.

        Raises:
            UserError: it holds something else than training lines, or cannot be written.
        """
        if path.exists() and (not path.is_file() or path.stat().st_size):
            try:
                read_examples(path)
            except UserError as error:
                raise UserError(f"--output: {error}; corrections are not added to it: name another file") from None
        self._path, self._images = path, path.with_name(f"{path.stem}-images")
        self._lock = threading.Lock()
        try:
            self._images.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self._images}: corrections cannot be written: {error.strerror or error}") from None

    def save(self, name: str, correction: DocumentCorrection, pages: Sequence[DrawnPage]) -> SavedDocument:
        """Keep a line for each page; what was kept of the same page before is replaced.

        Args:
            name: made of the photo's content, and so the name of a file.
            pages: those that the correction has.

        Raises:
            WorldError: they cannot be written.
        """
        lines: dict[str, str] = {}
        try:
            with self._alone():
                for page in pages:
                    image = self._images / f"{name}-{page.number}.png"
                    write_atomically(image, page.png)
                    answer = canonical_json(correction.by_page[page.number])
                    lines[image.stem] = to_line(VlExample(image.stem, image, "", "", answer), self._path.parent)
                kept = self._path.read_text("utf-8").split("\n") if self._path.exists() else []
                others = [f"{line}\n" for line in kept if line.strip() and json.loads(line).get("id") not in lines]
                write_atomically(self._path, "".join([*others, *lines.values()]).encode())
        except OSError as error:
            raise WorldError(f"{self._path}: cannot be written: {error.strerror or error}") from error
        return SavedDocument(name, "file", len(pages))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread, and no other server, writes to the file meanwhile."""
        with self._lock:
            folder = os.open(self._images, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                yield
            finally:
                os.close(folder)
