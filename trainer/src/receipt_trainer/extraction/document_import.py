"""Labelled receipts and their images as examples: what the labels say, and null for the rest."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.amount_checks import arithmetic_problems
from receipt_trainer.data.document import DOCUMENT_SCHEMA, FIELDS, canonical_json, number
from receipt_trainer.data.document_set import VlExample, to_line
from receipt_trainer.data.labels import normalise
from receipt_trainer.data.receipt import UNKNOWN, Receipt, Word
from receipt_trainer.errors import UserError
from receipt_trainer.extraction.dates import DateOrder
from receipt_trainer.extraction.values import Unreadable, read_amount, read_date
from receipt_trainer.files import write_atomically

_ITEM_LABELS = ("QUANTITY", "UNIT_PRICE", "LINE_TOTAL")
_FAR: Final = 1.5
"""Heights of a line: what is further below than that is another block."""

Kind = Literal["invoice", "receipt"]
_TITLES: Final = {
    "invoice": re.compile(
        "invoice|rechnung|fac?tu?ra|facture|fattura|faktura?|τιμολόγιο|сч[её]т(-фактура)?|御?請求書|(增值税)?发票"
    ),
    "receipt": re.compile(
        "receipt|quittung|kassenbon|kassenbeleg|reçu|ticket|recibo|ricevuta|scontrino|paragon|fişi?|απόδειξη|чек|"
        "領収書|レシート|收据|购物小票|nota|struk|check|bill"
    ),
}
"""What documents call themselves."""


@dataclass(slots=True)
class Converter:
    """Makes documents of receipts and counts what could not be read.

    Attributes:
        currency: of all receipts, or None where it is not known.
        point: the decimal sign of all receipts, where "72.000" is ambiguous.
        order: of day, month and year, where 03/04/2025 is ambiguous.
        kind: of receipts that do not say it themselves; None: what their printed words say.
        counts: what was left null and why, by "field: reason".
        given: how many documents have each field.
    """

    currency: str | None = None
    point: Literal[".", ","] | None = None
    order: DateOrder | None = None
    kind: Kind | None = None
    counts: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)

    @property
    def fields(self) -> list[str]:
        """The keys that `given` counts."""
        return [name for names in FIELDS.values() for name in names if not name.startswith("client.")] + ["client"]

    def document(self, receipt: Receipt) -> dict[str, Any]:
        """A receipt in the form of `data.document`: values that are not labelled or have two readings are null."""
        labelled = [(word, normalise(word.valid_label() or "")) for word in receipt.words]
        found: dict[str, Any] = dict.fromkeys(DOCUMENT_SCHEMA["properties"])
        said = receipt.extra.get("document_type")
        kind = said if said in _TITLES else self.kind or _printed_kind(labelled)
        found |= {"document_type": kind, "currency": self.currency}
        found["vendor"] = {
            "name": " ".join(self._block(labelled, "MERCHANT_NAME", "vendor.name")) or None,
            "address": _address(self._block(labelled, "ADDRESS_LINE", "vendor.address")) or None,
            "tax_id": None,
            "phone": next(iter(_runs(labelled, "PHONE_NUMBER")), None),
        }
        found["date"] = self._one("date", _runs(labelled, "DATE"), self._date)
        found["line_items"] = list(self._items(labelled))
        for key, label in (("subtotal", "SUBTOTAL"), ("tax", "TAX"), ("grand_total", "GRAND_TOTAL")):
            found[key] = self._one(key, _runs(labelled, label), self._amount)
        self._count(found)
        return found

    def _date(self, text: str) -> str:
        return read_date(text, self.order).isoformat()

    def _amount(self, text: str) -> int | float | None:
        return number(read_amount(text, self.point))

    def _one(self, key: str, texts: Sequence[str], read: Callable[[str], Any]) -> Any:
        """The value that all readable texts agree on."""
        values, reasons = [], []
        for text in texts:
            try:
                values.append(read(text))
            except Unreadable as error:
                reasons.append(str(error))
        if len(set(values)) == 1:
            return values[0]
        if texts:
            self.counts[f"{key}: {'several values' if values else reasons[0]}"] += 1
        return None

    def _block(self, labelled: Sequence[tuple[Word, str]], wanted: str, key: str) -> list[str]:
        """A text for each line of a label's first block; nothing if it is not clear what belongs to it.

        What is printed again further down is left out, and between its lines may stand those of another column.
        """
        lines: dict[int, list[Word]] = {}
        for word, label in labelled:
            if label == wanted:
                lines.setdefault(word.line, []).append(word)
        block: list[list[Word]] = []
        for words in lines.values():
            follows = _follows(words, block[-1]) if block else True
            if follows is None:
                self.counts[f"{key}: lines beside each other"] += 1
                return []
            if not follows:
                break
            block.append(words)
        return [" ".join(word.text for word in words) for words in block]

    def _items(self, labelled: Sequence[tuple[Word, str]]) -> Iterator[dict[str, Any]]:
        """One for each group where words have groups; else by lines, amounts below a name belonging to it."""
        for words in _item_words(labelled):
            texts = {label: _runs(words, label) for label in ("PRODUCT_NAME", *_ITEM_LABELS)}
            values = {label: self._one(f"line_items.{label}", texts[label], self._amount) for label in _ITEM_LABELS}
            yield {
                "description": " ".join(texts["PRODUCT_NAME"]) or None,
                "quantity": values["QUANTITY"],
                "unit_price": values["UNIT_PRICE"],
                "total": values["LINE_TOTAL"],
            }

    def _count(self, found: dict[str, Any]) -> None:
        vendor = {f"vendor.{key}": value for key, value in found["vendor"].items()}
        for key, value in (found | vendor).items():
            if key != "vendor" and value not in (None, []):
                self.given[key] += 1
        if arithmetic_problems(found):
            self.counts["document: sums do not hold"] += 1


def _runs(labelled: Sequence[tuple[Word, str]], wanted: str) -> list[str]:
    """Texts of the runs of a label inside a line, in order."""
    runs = groupby(labelled, key=lambda pair: (pair[0].line, pair[1]))
    return [" ".join(word.text for word, _ in run) for (_, label), run in runs if label == wanted]


def _follows(words: Sequence[Word], last: Sequence[Word]) -> bool | None:
    """Whether a line goes on where another of the same label ended: right under it, in its column; None: unclear."""
    if words[0].line == last[0].line + 1:
        return True
    height = max(word.box[3] - word.box[1] for word in last)
    gap = min(word.box[1] for word in words) - max(word.box[3] for word in last)
    if gap > _FAR * height:
        return False
    columns = [(min(word.box[0] for word in line), max(word.box[2] for word in line)) for line in (words, last)]
    (left, right), (other_left, other_right) = columns
    return True if left < other_right and other_left < right else None


def _printed_kind(labelled: Sequence[tuple[Word, str]]) -> Kind:
    """Invoice, where a word without a label says that and none says receipt."""
    printed = [word.text.casefold().strip(".:#*()") for word, label in labelled if label in ("", OUTSIDE)]
    invoice, receipt = (any(map(_TITLES[kind].fullmatch, printed)) for kind in ("invoice", "receipt"))
    return "invoice" if invoice and not receipt else "receipt"


def _address(lines: Sequence[str]) -> str:
    """Joined by ", ", without doubling a comma that ends a line."""
    return ", ".join(line.rstrip(" ,") for line in lines if line.strip(" ,"))


def _item_words(labelled: Sequence[tuple[Word, str]]) -> Iterator[list[tuple[Word, str]]]:
    words = [pair for pair in labelled if pair[1] in ("PRODUCT_NAME", *_ITEM_LABELS)]
    if words and all("group" in word.extra for word, _ in words):
        groups: dict[str, list[tuple[Word, str]]] = {}
        for pair in words:
            groups.setdefault(repr(pair[0].extra["group"]), []).append(pair)
        yield from groups.values()
        return
    item: list[tuple[Word, str]] = []
    for _, run in groupby(words, key=lambda pair: pair[0].line):
        line = list(run)
        labels = {label for _, label in line}
        if item and ("PRODUCT_NAME" in labels or labels & {label for _, label in item}):
            yield item
            item = []
        item = [*item, *line]
    if item:
        yield item


def split_key(document: dict[str, Any], name: str) -> str:
    """A key that receipts of one merchant share, so that a split keeps them together."""
    merchant = "".join(letter for letter in (document["vendor"]["name"] or "").casefold() if letter.isalnum())
    return merchant or name


SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, slots=True)
class Imported:
    """Receipts in train.jsonl and val.jsonl, and those without an image."""

    train: int
    val: int
    without_image: int


def import_receipts(
    receipts: Iterable[Receipt],
    image_dir: Path,
    folder: Path,
    converter: Converter,
    *,
    split: float,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Copy the images to `folder`/images and write val.jsonl and train.jsonl, the latter last.

    An image belongs to a receipt whose name is the file's without its suffix. Receipts of one merchant go to one side.
    A receipt with words of which nobody knows what they are is left out: its fields would be taught as missing.

    Raises:
        UserError: no receipt has an image, two images have one name, or something cannot be read or written.
    """
    try:
        images = _images(image_dir)
        lines: dict[bool, list[str]] = {True: [], False: []}
        without = 0
        for count, receipt in enumerate(receipts, start=1):
            image = images.get(receipt.name)
            if UNKNOWN in receipt.taught_labels():
                converter.counts["document: labels of some words are not known"] += 1
                continue
            if image is None:
                without += 1
                continue
            document = converter.document(receipt)
            target = folder / "images" / image.name
            if not target.is_file() or target.stat().st_size != image.stat().st_size:
                write_atomically(target, image.read_bytes())
            example = VlExample(receipt.name, target, "", "", canonical_json(document))
            lines[_share(split_key(document, receipt.name)) < split].append(to_line(example, folder))
            if progress is not None:
                progress(count, count)
        if not any(lines.values()):
            raise UserError(f"{image_dir}: no image is called as one of the receipts ({without} receipts without)")
        for name, wanted in (("val.jsonl", lines[False]), ("train.jsonl", lines[True])):
            (folder / name).unlink(missing_ok=True)
            if wanted:
                write_atomically(folder / name, "".join(wanted).encode())
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror or error}") from None
    return Imported(len(lines[True]), len(lines[False]), without)


def _images(folder: Path) -> dict[str, Path]:
    """Images by name without suffix; paths come from the folder's list and never from a receipt."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            if path.stem in found:
                raise UserError(f"{folder}: {found[path.stem].name} and {path.name} are images of one name")
            found[path.stem] = path
    return found


def _share(key: str) -> float:
    """A number from 0 to 1 that is always the same for a key."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8]) / 2**64
