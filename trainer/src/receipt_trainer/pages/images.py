"""The one opener of images: upright 8-bit RGB pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from receipt_trainer.errors import UserError

_ORIENTATION: Final = 0x0112
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})


def open_image(path: Path) -> Image.Image:
    """The image, upright, in RGB.

    Raises:
        UserError: no such file, or no image.
    """
    with _opened(path) as image:
        return as_rgb(ImageOps.exif_transpose(image))


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of the upright image in pixels, from its header.

    Raises:
        UserError: no such file, or no image.
    """
    with _opened(path) as image:
        width, height = image.size
        return (height, width) if image.getexif().get(_ORIENTATION) in _SIDEWAYS else (width, height)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: not a readable image: {' '.join(str(error).split())[:160]}") from None


def as_rgb(image: Image.Image) -> Image.Image:
    """RGB, transparent parts on white."""
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")
