"""A folder of examples made from labelled receipts and their images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from receipt_trainer.data.document import canonical_json
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.errors import UserError
from receipt_trainer.files import write_atomically
from receipt_trainer.models.paddleocr_vl.examples import INSTRUCTION, VlExample, to_line
from receipt_trainer.models.paddleocr_vl.from_receipts import Converter, split_key

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

    Raises:
        UserError: no receipt has an image, two images have one name, or something cannot be read or written.
    """
    try:
        images = _images(image_dir)
        lines: dict[bool, list[str]] = {True: [], False: []}
        without = 0
        for count, receipt in enumerate(receipts, start=1):
            image = images.get(receipt.name)
            if image is None:
                without += 1
                continue
            document = converter.document(receipt)
            target = folder / "images" / image.name
            if not target.is_file() or target.stat().st_size != image.stat().st_size:
                write_atomically(target, image.read_bytes())
            example = VlExample(receipt.name, target, INSTRUCTION, "", canonical_json(document))
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
