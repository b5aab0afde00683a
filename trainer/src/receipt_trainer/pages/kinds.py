"""What a file is, by its first bytes; needs nothing that opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from receipt_trainer.errors import UserError

IMAGE_ENDINGS: Final = (
    *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"),
    *(".ppm", ".heic", ".heif"),
)
"""By which images are looked for in folders and beside files; what they are, their content says."""
_IMAGE_HEADS: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})


def is_pdf(head: bytes) -> bool:
    """Whether a file that begins so is a PDF; other bytes may stand before its mark, as readers allow."""
    return b"%PDF-" in head[:1024]


def is_heif(head: bytes) -> bool:
    """Whether a file that begins so is HEIC, as iPhones take photos."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def is_document(head: bytes) -> bool:
    """Whether a file that begins so (1024 bytes, or all) is an image or a PDF."""
    return (
        is_pdf(head)
        or is_heif(head)
        or head.startswith(_IMAGE_HEADS)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS)
    )


def is_document_file(path: Path) -> bool:
    """Whether a file is an image or a PDF; False for what is no file, as a pipe that can be read only once."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            return is_document(stream.read(1024))
    except OSError:
        return False


def refuse_image(path: Path) -> None:
    """What a command does that wants words and is given a file.

    Raises:
        UserError: the file is an image or a PDF.
    """
    if is_document_file(path):
        raise UserError(
            f"{path} is an image: `receipt-trainer read {path}` reads it; "
            f"`receipt-trainer receipts ocr {path} -o words.jsonl` writes its words, which are wanted here"
        )
