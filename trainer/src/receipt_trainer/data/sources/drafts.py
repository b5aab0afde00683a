"""Receipts as their files have them, sound or not, for a person to look at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.page_words import PixelBox
from receipt_trainer.data.receipt import Receipt, WordLabel
from receipt_trainer.data.sources import foreign
from receipt_trainer.data.sources.clean import number
from receipt_trainer.data.sources.formats.pages import image_beside
from receipt_trainer.data.sources.jsonl import records
from receipt_trainer.data.sources.record import as_ours, corners_of, given_label

_IMAGE_FIELDS: Final = ("image", "image_path", "file_name", "filename", "file", "img")


@dataclass(frozen=True, slots=True)
class DraftWord:
    """A word as it is given: `box` in the unit that it has, None where it has none; `label` is `O` for none.

    `where` names it in problems.
    """

    text: str
    box: PixelBox | None
    label: str
    where: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A receipt as it is given: its name, the size of its page (0 where nobody says it), and the photo beside it."""

    name: str
    width: float
    height: float
    words: tuple[DraftWord, ...]
    image: Path | None = None


def read_drafts(
    path: Path, wanted: Collection[str] | None, *, format: str | None = None, label_names: Sequence[str] = ()
) -> Iterator[Draft]:
    """The receipts of a file or folder with these names, or at these places, the first of each; None: all.

    Raises:
        UserError: it cannot be read.
    """
    left = set(wanted or ())
    for place, draft in _drafts(path, format, label_names):
        if wanted is None:
            yield draft
        elif found := left & {place, draft.name}:
            left -= found
            yield draft
        if wanted is not None and not left:
            return


def _drafts(path: Path, format: str | None, label_names: Sequence[str]) -> Iterator[tuple[str, Draft]]:
    found = format or foreign.detect(path)
    if found in foreign.FORMATS:
        for document in foreign.read_foreign(path, found, label_names=label_names, is_draft=True):
            for page in document.pages:
                name = document.name if len(document.pages) == 1 else f"{document.name} page {page.number}"
                words = tuple(
                    DraftWord(word.text, word.box, _shown(word.labels), f"word {n}")
                    for n, word in enumerate(page.words)
                )
                beside = image_beside(path / "file" if path.is_dir() else path, document.name)
                yield document.name, Draft(name, page.width, page.height, words, beside)
    elif not path.is_dir():
        for place, record in records(path):
            if isinstance(record, dict) and isinstance(record.get("words"), list):
                yield place, _of_record(as_ours(record, label_names), place, path)


def _of_record(record: dict[str, Any], place: str, path: Path) -> Draft:
    name, size = record.get("id"), [number(record.get(side)) or 0 for side in ("width", "height")]
    called = str(name) if isinstance(name, str | int) and str(name).strip() else place
    image = next((value for field in _IMAGE_FIELDS if isinstance(value := record.get(field), str) and value), called)
    words = tuple(_of_word(word, n) for n, word in enumerate(record["words"]))
    return Draft(called, max(size[0], 0), max(size[1], 0), words, image_beside(path, image))


def _of_word(word: Any, n: int) -> DraftWord:
    text = word.get("text") if isinstance(word, dict) else word
    label = given_label(word)
    if label is None and isinstance(word, dict) and isinstance(word.get("labels"), list):
        label = next((pair[0] for pair in word["labels"] if isinstance(pair, list) and pair), None)
    return DraftWord(str(text or ""), corners_of(word), str(label or OUTSIDE), f"word {n}")


def drafts_of(receipts: Iterable[Receipt], wanted: Collection[str]) -> Iterator[Draft]:
    """The same of receipts of a table, of which only the sound words are known; a page of no size is 1000 by 1000."""
    for receipt in receipts:
        name = receipt.name or receipt.key
        if name in wanted:
            w, h = (receipt.width, receipt.height) if min(receipt.width, receipt.height) > 0 else (1000, 1000)
            words = tuple(
                DraftWord(word.text, (x0 * w, y0 * h, x1 * w, y1 * h), _shown(word.labels), f"word {n}")
                for n, word in enumerate(receipt.words)
                for x0, y0, x1, y1 in (word.box,)
            )
            yield Draft(name, w, h, words)


def _shown(labels: Sequence[WordLabel]) -> str:
    """The VALID label, else the first of the others by name."""
    best = min(labels, key=lambda label: (label.status != "VALID", label.name), default=None)
    return OUTSIDE if best is None else best.name
