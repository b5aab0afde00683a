"""The queue of receipts that a person should look at: the least sure first, read by the model in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Final
from urllib.parse import quote

from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.load import read_files
from receipt_trainer.errors import UserError
from receipt_trainer.inference.document_reader import DocumentReader
from receipt_trainer.inference.inputs import Given, Reader, document_of
from receipt_trainer.serving.corrections import Photo
from receipt_trainer.serving.holder import Holder

_SHOWN: Final = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"RIFF": "image/webp"}
"""First bytes of the photos that a browser shows, and their content types."""
MAX_PHOTO: Final = 20_000_000
"""Bytes of a photo that is shown at most."""

Load = Callable[[str], Receipt | None]
"""The receipt of a key as it is now; None where it is gone."""
FindPhoto = Callable[[Receipt], Callable[[], bytes | None] | None]
"""What fetches the photo of a receipt; None where none is named."""


@dataclass(slots=True)
class _Entry:
    name: str
    confidence: float | None = None
    is_done: bool = False


class ReviewQueue:
    """Receipts by key; `entries` and all else may be called by several threads while the model reads."""

    def __init__(
        self,
        holder: Holder,
        receipts: Iterable[Receipt],
        load: Load,
        photo: FindPhoto,
        problems: ProblemLog | None = None,
    ) -> None:
        """
        Args:
            receipts: those of the queue; one that is confirmed is done. Held until the model has read them.
            load: gives a receipt of the queue as it is now.
            photo: gives the photo of one.
            problems: what was found when they were loaded, for `problems`.
        """
        self.problems = problems or ProblemLog()
        """Among them the receipts that could not be loaded and so are not in the queue."""
        self._holder, self._load, self._photo = holder, load, photo
        self._lock = Lock()
        self._unread = list(receipts)
        self._entries = {
            receipt.key: _Entry(receipt.name or receipt.key, is_done=_is_confirmed(receipt)) for receipt in self._unread
        }
        self.is_read = Event()
        """Set when the model has read all of them."""
        self._stopped = Event()
        self._thread = Thread(target=self._read_all, name="review", daemon=True)

    def start(self) -> None:
        """Begin to read in the background."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def progress(self) -> tuple[int, int]:
        """How many are read, of how many."""
        with self._lock:
            return len(self._entries) - len(self._unread), len(self._entries)

    def _read_all(self) -> None:
        self._unread.sort(key=_is_confirmed, reverse=True)  # taken from the end: those to look at first
        while self._unread and not self._stopped.is_set():
            receipt = self._unread[-1]
            try:
                answer = read_again(self._holder.current().reader, receipt)
                found = [word["confidence"] for word in answer["words"]]
                sure = round(sum(found) / len(found), 4) if found else 0.0
            except UserError:  # no model can read it: a person should look
                sure = 0.0
            with self._lock:
                self._entries[receipt.key].confidence = sure
                self._unread.pop()
        if not self._unread:
            self.is_read.set()

    def entries(self) -> list[dict[str, Any]]:
        """key, name, mean confidence of the words, state of each: the least sure first, those not read yet last."""
        with self._lock:
            found = [
                {
                    "key": key,
                    "name": entry.name,
                    "confidence": entry.confidence,
                    "state": "done" if entry.is_done else "open",
                }
                for key, entry in self._entries.items()
            ]
        return sorted(found, key=lambda entry: (entry["confidence"] is None, entry["confidence"], str(entry["name"])))

    def entry(self, key: str) -> dict[str, Any]:
        """The answer that the model gives now, with the labels of people where there are any, and its photo's address.

        Raises:
            KeyError: the queue has no such receipt, or it is gone.
            WorldError: it cannot be fetched just now.
        """
        receipt = self._receipt(key)
        reader = self._holder.current().reader
        answer = read_again(reader, receipt)
        if isinstance(reader, DocumentReader) and len(receipt.words) == len(answer["words"]):
            judged = {
                number: label
                for number, word in enumerate(receipt.words)
                if (label := word.valid_label()) is not None and not word.is_open()
            }
            answer |= reader.fields_of(answer, judged)
            for number, label in judged.items():
                answer["words"][number]["label"] = label
        has_photo = self._photo(receipt) is not None
        return answer | {"photo": f"/v1/review/{quote(key, safe='')}/photo" if has_photo else None}

    def photo(self, key: str) -> Photo | None:
        """The photo of a receipt, if one was kept that can be fetched and that a browser shows.

        Raises:
            KeyError, WorldError: as `entry`.
        """
        fetch = self._photo(self._receipt(key))
        content = None if fetch is None else fetch()
        if content is None or len(content) > MAX_PHOTO:
            return None
        kind = next((kind for head, kind in _SHOWN.items() if content.startswith(head)), None)
        return None if kind is None else Photo(content, kind)

    def done(self, key: str) -> None:
        """Say that a person has confirmed a receipt."""
        with self._lock:
            if key in self._entries:
                self._entries[key].is_done = True

    def _receipt(self, key: str) -> Receipt:
        if key not in self._entries:
            raise KeyError(key)
        receipt = self._load(key)
        if receipt is None:
            raise KeyError(key)
        return receipt


def _is_confirmed(receipt: Receipt) -> bool:
    return receipt.review is not None and receipt.review.confirmed


def read_again(reader: Reader, receipt: Receipt) -> dict[str, Any]:
    """The answer for the words of a receipt, in their order.

    Raises:
        UserError: the model cannot read it.
    """
    words = document_of(receipt)
    return dict(reader.answer(Given(words.name, words)))


def queue_of_file(holder: Holder, file: Path, corrections: Path) -> tuple[ReviewQueue, dict[str, Receipt]]:
    """The queue of a file's receipts, and these by key as they were corrected so far: `FileCorrections` keeps them so.

    Args:
        corrections: where corrections go; those that are there already count.

    Raises:
        UserError: it cannot be read, no receipt is in it, or corrections would go into it.
    """
    if corrections.resolve() == file.resolve() or (corrections.exists() and corrections.samefile(file)):
        raise UserError(f"--output {corrections}: corrections do not go into the file that is reviewed; name another")
    problems = ProblemLog()
    receipts = {receipt.key: receipt for receipt in read_files(file, problems)}
    if not receipts:
        raise UserError(f"{file}: no receipt to review{problems.said()}")
    if corrections.is_file() and corrections.stat().st_size:
        for receipt in read_files(corrections, ProblemLog(), format="jsonl"):
            if receipt.key in receipts and receipt.corrects(receipts[receipt.key]):
                receipts[receipt.key] = receipt
    folder = file.resolve().parent
    queue = ReviewQueue(
        holder, receipts.values(), receipts.get, lambda receipt: photo_beside(folder, receipt), problems
    )
    return queue, receipts


def photo_beside(folder: Path, receipt: Receipt) -> Callable[[], bytes | None] | None:
    """Reads the photo that a receipt names as its `image`: a file in the folder or below it, and no other."""
    named = receipt.extra.get("image")
    if not isinstance(named, str) or not named or "\0" in named:
        return None
    try:
        path = (folder / named).resolve()
        is_there = path.is_relative_to(folder.resolve()) and path.is_file() and path.stat().st_size <= MAX_PHOTO
    except (OSError, RuntimeError):  # a name too long, a loop of links
        return None
    return path.read_bytes if is_there else None
