"""Corrections of people: what the page sends, as receipts whose labels the next training takes; kept in a file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.tables import iso
from receipt_trainer.data.corrected import corrected
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import CORRECTIONS, ORIGINAL_TEXT, Receipt, Review, Word, WordLabel, image_id_for
from receipt_trainer.data.sources.clean import MAX_KEY, MAX_NAME, MAX_TEXT, MAX_WORDS, clean, is_name, sound_box
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.errors import UserError, WorldError

PERSON: Final = "person"
"""Who proposed a label of a person that gave no name."""
MAX_PAGES: Final = 50


def _named(value: str) -> str:
    if not is_name(value, MAX_NAME):
        raise ValueError("must be a text that is not blank, without control characters")
    return value


def _label(value: str) -> str:
    if not is_name(value, MAX_KEY):
        raise ValueError(f"must be the name of a label, at most {MAX_KEY} characters")
    return value


Name = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_named)]
Label = Annotated[str, Field(max_length=MAX_KEY), AfterValidator(_label)]
Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CorrectedPage(_Strict):
    """A page: its number from 1 and its size, in whose unit the boxes of its words are."""

    page: int = Field(ge=1, le=1_000_000)
    width: float = Field(ge=1, le=1_000_000, allow_inf_nan=False)
    height: float = Field(ge=1, le=1_000_000, allow_inf_nan=False)


class CorrectedWord(_Strict):
    """A word as the person left it. `proposed` is the model's label, `O` for none, null where none was asked."""

    text: str = Field(min_length=1, max_length=MAX_TEXT)
    box: list[Number] = Field(min_length=4, max_length=4, description="x0, y0, x1, y1, origin at the top left")
    page: int = Field(default=1, ge=1, le=1_000_000)
    line: int = Field(ge=-1, le=1_000_000, description="Visual row; -1 is LINE 0 of a table")
    label: Label = Field(description="Name of the label, O for none")
    proposed: Label | None = None
    by_person: bool = Field(default=False, description="Whether the person judged this very word")
    original_text: str | None = Field(default=None, max_length=MAX_TEXT, description="What OCR read")
    confidence: Share = Field(default=1.0, description="Of the model, as answered; nothing of it is kept")
    ocr_confidence: Share | None = Field(default=None, description="As answered; nothing of it is kept")

    @property
    def is_judged(self) -> bool:
        """Whether a person has said what it is: nobody else gives it another label than the one proposed."""
        return self.by_person or (self.proposed is not None and self.label != self.proposed)


class ReadBy(_Strict):
    """The model that proposed the labels."""

    name: Name
    version: Name


class Correction(_Strict):
    """What a person made of a document: all of its words, with labels."""

    pages: list[CorrectedPage] = Field(min_length=1, max_length=MAX_PAGES)
    words: list[CorrectedWord] = Field(min_length=1, max_length=MAX_WORDS)
    confirmed: bool = Field(description="Whether the labels are all there are, so that each word without one is none")
    model: ReadBy | None = None
    by: Name | None = Field(default=None, description="Who corrected")
    review_key: Name | None = Field(default=None, description="Key of the receipt in the queue of reviews")

    @model_validator(mode="after")
    def _pages_fit(self) -> Self:
        sizes = {page.page: (page.width, page.height) for page in self.pages}
        if len(sizes) < len(self.pages):
            raise ValueError("pages: two pages have one number")
        for number, word in enumerate(self.words):
            if word.page not in sizes:
                raise ValueError(f"words.{number}: page {word.page} is not among the pages")
            if _fractions(word, *sizes[word.page]) is None:
                raise ValueError(f"words.{number}: box {word.box} has no area on its page")
        return self

    @property
    def judged(self) -> dict[int, str]:
        """The labels of the words that the person judged, by their places."""
        return {number: word.label for number, word in enumerate(self.words) if word.is_judged}

    @property
    def proposer(self) -> str:
        """Who proposed the model's labels; "" where the correction names no model."""
        return f"{self.model.name}/{self.model.version}"[:MAX_NAME] if self.model else ""


@dataclass(frozen=True, slots=True)
class Photo:
    """The file that was corrected, and its checked content type, such as image/jpeg."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Saved:
    """What was kept of a correction: the answer of `:correct`."""

    id: str
    saved_to: Literal["table", "file"]
    num_words: int
    num_labels: int
    confirmed: bool


class Corrections(Protocol):
    """Where corrections are kept."""

    def save(self, receipt_id: str, correction: Correction, photo: Photo | None = None) -> Saved:
        """Keep a correction, and its photo where photos are kept; saved again, it is the same receipt.

        Args:
            receipt_id: the id of the answer that was corrected.

        Raises:
            UserError: it cannot be kept so: what is wrong with it, or with what it corrects.
            WorldError: the place cannot be reached or written just now.
        """


def receipts_of(receipt_id: str, correction: Correction, known: Receipt | None = None) -> list[Receipt]:
    """A receipt for each page with words, with what became of each label.

    Args:
        receipt_id: the id of the answer; of a UUID it is the image's, else a name.
        known: the receipt of a queue that was corrected: it keeps its key, name, source and what is carried along.

    Raises:
        UserError: no word is left of it, or the id can be no receipt's.
    """
    if not is_name(receipt_id):
        raise UserError(f"id {receipt_id[:60]!r}: a receipt cannot be called so")
    review = Review(correction.confirmed, correction.by or PERSON, iso(datetime.now(UTC)))
    found = []
    for page in correction.pages:
        words = [word for word in correction.words if word.page == page.page]
        if not words:
            continue
        name = receipt_id if len(correction.pages) == 1 else f"{receipt_id} page {page.page}"
        empty = known or Receipt(_image_id(receipt_id), page.page, (), name, CORRECTIONS)
        receipt = Receipt(
            image_id=empty.image_id,
            receipt_id=empty.receipt_id,
            words=tuple(_word(word, page, correction, review.at) for word in words),
            name=empty.name,
            source=empty.source,
            split=empty.split,
            width=round(page.width),
            height=round(page.height),
            extra=empty.extra,
            review=review,
        )
        kept = clean(receipt, problems := ProblemLog())
        if kept is None:
            raise UserError(f"{receipt.name}: no word is left of it{problems.said()}")
        found.append(kept)
    if known is not None and len(found) > 1:
        raise UserError(f"{known.name}: a receipt of the queue has one page, the correction has {len(found)}")
    return found


def _image_id(receipt_id: str) -> str:
    """The UUID that the id is, or the one that a JSON lines file gives a receipt that is called so."""
    try:
        return str(UUID(receipt_id))
    except ValueError:
        return image_id_for("", receipt_id)


def _word(word: CorrectedWord, page: CorrectedPage, correction: Correction, at: str) -> Word:
    box = _fractions(word, page.width, page.height)
    if box is None:
        raise ValueError("a correction is checked when it is parsed")
    is_other_text = word.original_text not in (None, word.text)
    return Word(
        word.text,
        box,
        word.line,
        tuple(replace(label, added=at) for label in _labels(word, correction)),
        extra={ORIGINAL_TEXT: word.original_text} if is_other_text else {},
    )


def _fractions(word: CorrectedWord, width: float, height: float) -> Any:
    x0, y0, x1, y1 = word.box
    return sound_box([x0 / width, y0 / height, x1 / width, y1 / height], "", "", ProblemLog())


def _labels(word: CorrectedWord, correction: Correction) -> Sequence[WordLabel]:
    """The label of the person as VALID, the model's other one as INVALID; one that nobody judged stays PENDING.

    That a word is none is a label of its own, `O`, where the receipt as a whole does not say it.
    """
    proposed = None if word.proposed in (None, OUTSIDE) else word.proposed
    if not (correction.confirmed or word.is_judged):
        return [WordLabel(proposed, "PENDING", correction.proposer)] if proposed else []
    found = [WordLabel(proposed, "INVALID", correction.proposer)] if proposed and proposed != word.label else []
    if word.label != OUTSIDE or not correction.confirmed:
        who = correction.proposer if word.label == proposed else correction.by or PERSON
        found.append(WordLabel(word.label, "VALID", who))
    return found


def saved(receipt_id: str, place: Literal["table", "file"], receipts: Sequence[Receipt], confirmed: bool) -> Saved:
    """The answer to a correction that is kept."""
    labels = [word.valid_label() for receipt in receipts for word in receipt.words]
    return Saved(receipt_id, place, len(labels), sum(label not in (None, OUTSIDE) for label in labels), confirmed)


class FileCorrections:
    """Corrections as JSON lines of ours: a line a receipt is added, and of two of one receipt the later counts."""

    def __init__(self, path: Path, *, known: dict[str, Receipt] | None = None) -> None:
        """`known`: the receipts of the queue by key, which are kept as they are corrected.

        Raises:
            UserError: the file cannot be written.
        """
        self._path, self._known = path, {} if known is None else known
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not path.exists()
            with path.open("ab"):
                pass
            if is_new:  # it appears with the first correction
                path.unlink()
        except OSError as error:
            raise UserError(f"{path}: corrections cannot be written: {error.strerror or error}") from None

    def save(self, receipt_id: str, correction: Correction, photo: Photo | None = None) -> Saved:
        """See `Corrections`; a photo is not kept."""
        known = None
        if correction.review_key is not None:
            known = self._known.get(correction.review_key)
            if known is None:
                raise UserError(f"review_key {correction.review_key!r} is not in the queue: load the page again")
        receipts = receipts_of(receipt_id, correction, known)
        if known is not None:
            receipts = [_as_line(known, receipt) for receipt in receipts]
        try:
            _append(self._path, "".join(map(to_line, receipts)).encode())
        except OSError as error:
            raise WorldError(f"{self._path}: cannot be written: {error.strerror or error}") from error
        if known is not None:
            self._known |= {receipt.key: receipt for receipt in receipts}
        return saved(receipt_id, "file", receipts, correction.confirmed)


def _as_line(known: Receipt, made: Receipt) -> Receipt:
    """The receipt of the queue as it is now, with the time by which a reader of files knows that it is newer."""
    found = corrected(known, made)
    at = made.review.at if made.review else ""
    return replace(found, review=replace(found.review or Review(confirmed=True), at=at))


def _append(path: Path, lines: bytes) -> None:
    """Add whole lines, on disk when this returns, or none; after a line that a crash has cut, a new one is begun."""
    with path.open("a+b", buffering=0) as stream:  # a buffer would be written again when it is closed
        fcntl.flock(stream, fcntl.LOCK_EX)
        end = stream.seek(0, os.SEEK_END)
        if end:
            stream.seek(end - 1)
            lines = lines if stream.read(1) == b"\n" else b"\n" + lines
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[stream.write(rest) :]
            os.fsync(stream.fileno())
        except OSError:  # a full disk
            stream.truncate(end)
            raise
