"""The one opener of images: upright 8-bit RGB."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from receipt_trainer.errors import UserError
from receipt_trainer.pages.kinds import is_heif

MAX_PIXELS: Final = 40_000_000
"""Of a page; a larger one is refused before it is decoded."""
MAX_BYTES: Final = 100_000_000
"""Of a file."""

_FORMATS: Final = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        TiffImagePlugin.TiffImageFile,
        BmpImagePlugin.BmpImageFile,
        GifImagePlugin.GifImageFile,
        AvifImagePlugin.AvifImageFile,
        PpmImagePlugin.PpmImageFile,
    )
)
"""What Pillow may open: nothing that starts another program, as EPS does."""

_ORIENTATION: Final = 0x0112
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})
_CEILINGS: Final = (255, 4095, 65535)
"""The white of images with more than 8 bits a pixel: what a camera or a scanner counts to."""

Content = Path | bytes


def open_image(content: Content, name: str | None = None, *, around: float | None = None) -> Image.Image:
    """The image (of several pages or frames the first), upright, in 8-bit RGB.

    Args:
        content: a file, or what stands in one.
        name: what messages call it; a path's own if left out.
        around: of a larger image, about how many pixels are enough: it is scaled down to them.

    Raises:
        UserError: no such file, no image, broken, or too large.
    """
    with opened(content, name) as image:
        if around is None or (share := math.sqrt(around / (image.width * image.height))) >= 1:
            return as_page(image)
        # A JPEG is decoded at a half, a quarter or an eighth of its size where that is still enough.
        image.draft(None, (math.ceil(image.width * share), math.ceil(image.height * share)))
        page = as_page(image)
        share = min(1.0, math.sqrt(around / (page.width * page.height)))
        size = max(1, round(page.width * share)), max(1, round(page.height * share))
        return page.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of the upright image in pixels, from its header.

    Raises:
        UserError: no such file, no image, or too large.
    """
    with opened(path) as image:
        width, height = image.size
        return (height, width) if image.getexif().get(_ORIENTATION) in _SIDEWAYS else (width, height)


@contextmanager
def opened(content: Content, name: str | None = None) -> Iterator[Image.Image]:
    """The image as it is stored, not yet decoded; what goes wrong inside the block is told as a fault of the image.

    Decoders' warnings of what they passed over are not shown.

    Raises:
        UserError: no such file, no image, broken, or too large.
    """
    called = name or (str(content) if isinstance(content, Path) else "the image")
    try:
        with warnings.catch_warnings(action="ignore"), _recognised(content, called) as image:
            check_size(image.size, called)
            yield image
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{called}: no such file") from None
    except Image.DecompressionBombError:  # Pillow's own limit, which it checks before it says the size
        raise UserError(f"{called}: more than {MAX_PIXELS // 1_000_000} megapixels: make it smaller") from None
    except MemoryError:
        raise UserError(f"{called}: not a readable image: it takes more memory than there is") from None
    except Exception as error:  # decoders of broken files raise what they like
        raise UserError(f"{called}: not a readable image: {reason_of(error)}") from None


def reason_of(error: Exception) -> str:
    """What a decoder says, in one short line."""
    said = " ".join(str(error).split())
    # An unknown file in memory is called by its address.
    return "no format that is known" if "cannot identify image file" in said else said[:160] or type(error).__name__


def check_size(size: tuple[int, int], called: str) -> None:
    """An image that is not too large to decode.

    Raises:
        UserError: it has more than `MAX_PIXELS`.
    """
    width, height = size
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 1_000_000
        raise UserError(f"{called}: {width} x {height} pixels are more than {limit} megapixels: make it smaller")


def check_bytes(content: Content, called: str) -> None:
    """A file that is not too large to be read into memory.

    Raises:
        UserError: it has more than `MAX_BYTES`, or is empty.
    """
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    if size > MAX_BYTES:
        raise UserError(f"{called}: {size / 1e6:.0f} MB are more than {MAX_BYTES // 1_000_000} MB")
    if size == 0:
        raise UserError(f"{called}: the file is empty")


def _recognised(content: Content, called: str) -> Image.Image:
    if isinstance(content, Path) and content.is_dir():
        raise UserError(f"{called}: a folder, not an image")
    check_bytes(content, called)
    head = content[:16] if isinstance(content, bytes) else _head(content)
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    if not is_heif(head):
        return Image.open(stream, formats=_FORMATS)
    try:
        import pi_heif
    except ImportError:
        raise UserError(f"{called}: HEIC is read with pi-heif: pip install './trainer[heic]'") from None
    heif = pi_heif.open_heif(stream, convert_hdr_to_8bit=True)
    check_size(heif.size, called)
    image: Image.Image = heif.to_pillow()
    return image


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(16)


def as_page(image: Image.Image) -> Image.Image:
    """The image decoded, upright and in 8-bit RGB; its colours are those that a viewer would show."""
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG for one of Adobe, which store their ink inverted.
        image = ImageChops.invert(image)
    return as_rgb(ImageOps.exif_transpose(image))


def as_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB, transparent parts on white; more bits a pixel are scaled."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def is_blank(image: Image.Image) -> bool:
    """Whether all pixels are alike, as on a page that was scaled wrongly or never scanned."""
    return all(low == high for low, high in image.convert("RGB").getextrema())  # type: ignore[misc]


def _eight_bits(image: Image.Image) -> Image.Image:
    """Greys of 16 or 32 bits, whole or real, as grey of 8 bits; white is the lowest usual one above them all."""
    wide = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = min(0.0, float(wide.min(initial=0))), float(wide.max(initial=0))
    usual = (1.0, *_CEILINGS) if image.mode == "F" else _CEILINGS
    white = next((ceiling for ceiling in usual if low == 0 and high <= ceiling), high)
    scaled = (wide - low) * (255 / (white - low)) if white > low else wide
    return Image.fromarray((scaled + 0.5).astype(np.uint8))
