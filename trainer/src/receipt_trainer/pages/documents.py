"""Pages of any document: an image, a TIFF of many pages or a PDF, from a file or from memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from receipt_trainer.errors import UserError
from receipt_trainer.pages.images import Content, as_page, check_bytes, check_size, opened
from receipt_trainer.pages.kinds import is_pdf
from receipt_trainer.pages.pdf import drawn

MAX_PAGES: Final = 10
"""Read of one document; of a longer one the wanted pages must be named."""
_MAX_COUNTED: Final = 1000
"""Pages of a TIFF, which must be walked through to be counted."""


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """A page as a viewer would show it.

    Attributes:
        number: from 1.
        image: upright (by its EXIF data), 8-bit RGB.
        of_pages: how many the document has.
    """

    number: int
    image: Image.Image
    of_pages: int


def open_pages(
    content: Content, *, pages: Collection[int] | None = None, name: str | None = None
) -> Iterator[DocumentPage]:
    """The pages of a document in order, each decoded when it is asked for; of an animation the first frame.

    Args:
        content: a file, or what stands in one; what it is, its content says.
        pages: numbers of the wanted ones, from 1; all by default.
        name: what messages call the document; a path's own if left out.

    Raises:
        UserError: no such file, no image or PDF, broken, too large or too long, or a page that it does not have.
    """
    called = name or (str(content) if isinstance(content, Path) else "the document")
    if is_pdf(_head(content, called)):
        check_bytes(content, called)
        data = content.read_bytes() if isinstance(content, Path) else content
        with drawn(data, sorted(set(pages or ())), called) as (total, images):
            for number in _wanted(total, pages, called):
                yield DocumentPage(number, next(images), total)
        return
    with opened(content, called) as image:
        # GIF, WebP, PNG and AVIF have frames of one picture, MPO the same photo at other sizes or from beside it.
        total = _count_frames(image) if image.format == "TIFF" else 1
        for number in _wanted(total, pages, called):
            if image.format == "TIFF":
                image.seek(number - 1)
                check_size(image.size, called)
            yield DocumentPage(number, as_page(image), total)


def _head(content: Content, called: str) -> bytes:
    if isinstance(content, bytes):
        return content[:1024]
    try:
        with content.open("rb") as stream:
            return stream.read(1024)
    except FileNotFoundError:
        raise UserError(f"{called}: no such file") from None
    except OSError as error:
        raise UserError(f"{called}: cannot be read: {error.strerror or error}") from None


def _count_frames(image: Image.Image) -> int:
    """Pages of a TIFF, counted up to a bound; the first is current afterwards."""
    count = 1
    try:
        while count < _MAX_COUNTED:
            image.seek(count)
            count += 1
    except EOFError:
        pass
    image.seek(0)
    return count


def _wanted(total: int, pages: Collection[int] | None, called: str) -> list[int]:
    if pages is None:
        if total > MAX_PAGES:
            raise UserError(f"{called}: {total} pages are more than {MAX_PAGES}: name the pages to read")
        return list(range(1, total + 1))
    wanted = sorted(set(pages))
    if not wanted or len(wanted) > MAX_PAGES:
        raise UserError(f"{called}: {len(wanted)} pages are asked for: name 1 to {MAX_PAGES}")
    if wanted[0] < 1 or wanted[-1] > total:
        missing = wanted[0] if wanted[0] < 1 else wanted[-1]
        raise UserError(f"{called}: there is no page {missing}: it has {total}")
    return wanted
