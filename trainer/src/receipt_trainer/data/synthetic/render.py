"""Pages as images: fonts, drawing, and what a phone or a scanner does to a page. Needs Pillow, matplotlib, numpy."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from receipt_trainer.data.augment import add_noise
from receipt_trainer.data.synthetic.locales import Language, languages
from receipt_trainer.data.synthetic.page import Page, Pixels
from receipt_trainer.errors import UserError

BUNDLED: Final = {
    "sans": ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    "serif": ("DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf"),
    "mono": ("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"),
    "times": ("STIXGeneral.ttf", "STIXGeneralBol.ttf"),
}
"""Families that matplotlib brings along, with their regular and bold file; the same on every machine."""

_ASCII: Final = frozenset(map(chr, range(33, 127)))
_AIR: Final = 5
"""Pixels that a cut photo leaves around what stands on the page."""


@dataclass(frozen=True, slots=True)
class FontFamily:
    """A family of font files: paths of the regular and the bold one (the same where there is no bold one)."""

    name: str
    regular: Path
    bold: Path

    def covers(self, letters: Iterable[str]) -> bool:
        """Whether both files have a glyph for each letter."""
        wanted = frozenset(letters)
        return wanted <= _glyphs(self.regular) and wanted <= _glyphs(self.bold)

    def font(self, size: int, bold: bool) -> ImageFont.FreeTypeFont:
        """The font to measure and draw with."""
        return _load(self.bold if bold else self.regular, size)

    def advance(self, text: str, size: int, bold: bool) -> float:
        """Pixels that a text takes."""
        return float(self.font(size, bold).getlength(text))

    def metrics(self, size: int, bold: bool) -> tuple[int, int]:
        """Pixels above and below the baseline."""
        return self.font(size, bold).getmetrics()

    def ink(self, text: str, size: int, bold: bool) -> tuple[float, float, float, float]:
        """The box of the text's ink, its origin the left end of the baseline."""
        return self.font(size, bold).getbbox(text, anchor="ls")


@lru_cache(maxsize=256)
def _load(path: Path, size: int) -> ImageFont.FreeTypeFont:
    # The basic layout is the same wherever Pillow is; the complex one depends on a library of the system.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=512)
def _glyphs(path: Path) -> frozenset[str]:
    """The characters that a font has; none if it cannot be read."""
    try:
        return frozenset(map(chr, FT2Font(str(path)).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@lru_cache(maxsize=1)
def bundled() -> tuple[FontFamily, ...]:
    """The families that come with matplotlib."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return tuple(FontFamily(name, folder / files[0], folder / files[1]) for name, files in BUNDLED.items())


@lru_cache(maxsize=64)
def fonts_of(language: Language, folders: tuple[Path, ...] = ()) -> tuple[FontFamily, ...]:
    """Families with the language's letters and ASCII: the bundled ones, else those of `folders` and the system."""
    found = tuple(family for family in bundled() if family.covers(language.letters))
    if found:
        return found
    wanted = language.letters | _ASCII
    others = sorted((path for path in _others(folders) if wanted <= _glyphs(path)), key=lambda path: path.name)
    return tuple(FontFamily(path.stem, path, path) for path in others[:4])


def fonts_by_language(codes: Iterable[str], folders: tuple[Path, ...] = ()) -> dict[Language, tuple[FontFamily, ...]]:
    """As `fonts_of`, for each of these languages."""
    return {languages()[code]: fonts_of(languages()[code], folders) for code in codes}


@lru_cache(maxsize=8)
def _others(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    found = findSystemFonts() if not folders else findSystemFonts(fontpaths=[str(folder) for folder in folders])
    return tuple(sorted(Path(path) for path in found))


def drawable(wanted: tuple[str, ...], folders: tuple[Path, ...] = ()) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(languages to draw, languages left out because no font has their letters); nothing wanted means all.

    Raises:
        UserError: a language is not known, or was asked for by name and has no font.
    """
    known = languages()
    unknown = [code for code in wanted if code not in known]
    if unknown:
        raise UserError(f"no language {', '.join(unknown)}; there are {', '.join(known)}")
    codes = tuple(dict.fromkeys(wanted)) or tuple(known)
    without = tuple(code for code in codes if not fonts_of(known[code], folders))
    if wanted and without:
        raise UserError(
            f"no font here has all letters of {', '.join(without)}; install one (Debian: fonts-noto-cjk) or name its "
            "folder with --font-dir"
        )
    return tuple(code for code in codes if code not in without), without


def draw(page: Page) -> Image.Image:
    """The page as an RGB image; the families of its faces are `FontFamily`s."""
    page.check()
    image = Image.new("RGB", (page.width, page.height), page.paper)
    pen = ImageDraw.Draw(image)
    for (x0, y0, x1, y1), colour in (*page.bands, *page.rules):
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), fill=colour)
    for text in page.texts:
        family: Any = text.face.family
        font = family.font(text.face.size, text.face.bold)
        pen.text(text.origin, text.text, font=font, fill=text.colour, anchor="ls")
    return image


def encode(page: Page, photo: np.random.Generator | None = None) -> bytes:
    """The page as a PNG, or photographed as a JPEG."""
    buffer = io.BytesIO()
    if photo is None:
        draw(page).save(buffer, "PNG", compress_level=4)
    else:
        image = photograph(draw(page), photo, page.content)
        image.save(buffer, "JPEG", quality=int(photo.integers(40, 93)))
    return buffer.getvalue()


def photograph(image: Image.Image, rng: np.random.Generator, content: Pixels | None = None) -> Image.Image:
    """The page as it may look in a photo: `content` is not cut off and stays legible, margins may be cut.

    Args:
        image: RGB.
        rng: the only source of chance.
        content: the box around all that stands on it; None: the whole page.
    """
    pixels = np.asarray(image, dtype=np.float32)
    height, width, _ = pixels.shape
    tint = np.array([1.0, rng.uniform(0.955, 1.0), rng.uniform(0.87, 0.99)], dtype=np.float32)
    ink = rng.uniform(0.0, 60.0)  # faded print: black becomes grey
    pixels = (pixels * (1 - ink / 255) + ink) * tint
    pixels *= _light(rng, height, width)[:, :, None]
    for _ in range(int(rng.integers(0, 3))):
        pixels *= _fold(rng, height, width)
    if rng.random() < 0.3:
        pixels += (255 - pixels) * _glare(rng, height, width)[:, :, None]
    page = _on_table(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), rng, content or (0, 0, width, height))
    if rng.random() < 0.6:
        page = page.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
    return add_noise(page, rng.uniform(0.004, 0.025), rng, grey=True)


def _light(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width): brighter towards one side."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.22)
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * np.float32(np.cos(angle))
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    light: np.ndarray = 1 - np.float32(strength) * (1 + across + down) / 2
    return light


def _fold(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, 1, 1) or (1, width, 1): a soft shadow along a fold, darker on one side of it."""
    across = rng.random() < 0.6
    size = height if across else width
    distance = np.arange(size, dtype=np.float32) - np.float32(size * rng.uniform(0.2, 0.8))
    spread = np.where(distance < 0, rng.uniform(4, 10), rng.uniform(20, 60)).astype(np.float32)
    shade: np.ndarray = 1 - np.float32(rng.uniform(0.05, 0.16)) * np.exp(-np.abs(distance) / spread)
    return shade[:, None, None] if across else shade[None, :, None]


def _glare(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width): how much of the dark a lamp's reflection takes away, most in its middle."""
    down, across = (
        np.exp(-(((np.arange(size, dtype=np.float32) / size - rng.uniform(0, 1)) / rng.uniform(0.08, 0.3)) ** 2))
        for size in (height, width)
    )
    glare: np.ndarray = np.float32(rng.uniform(0.15, 0.4)) * np.outer(down, across).astype(np.float32)
    return glare


def _on_table(page: Image.Image, rng: np.random.Generator, content: Pixels) -> Image.Image:
    """Tilted and seen a little from the side, on a ground of another colour, which a cut at a side may leave out."""
    grey = rng.integers(60, 200)
    red, green, blue = (int(np.clip(grey + shift, 0, 255)) for shift in rng.integers(-18, 19, 3))
    edge = rng.integers(4, 32)
    angle = np.deg2rad(rng.uniform(-2.5, 2.5))
    corners = _corners((0, 0, page.width, page.height))
    seen = corners @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    if rng.random() < 0.6:
        seen = seen + rng.uniform(-0.035, 0.035, (4, 2)) * min(page.size)
    seen += edge - seen.min(axis=0)
    width, height = (int(size) for size in np.ceil(seen.max(axis=0) + edge))
    back = _homography(seen, corners)
    photo = page.transform(
        (width, height),
        Image.Transform.PERSPECTIVE,
        back.ravel()[:8].tolist(),
        Image.Resampling.BICUBIC,
        fillcolor=(red, green, blue),
    )
    if rng.random() < 0.6:
        return photo
    kept = np.c_[_corners(content), np.ones(4)] @ np.linalg.inv(back).T
    kept = kept[:, :2] / kept[:, 2:]
    room = np.concatenate([kept.min(axis=0), np.array([width, height]) - kept.max(axis=0)]) - _AIR
    share = rng.choice((0.0, 0.0, 1.0), 4) * rng.uniform(0.3, 1, 4)
    left, top, right, bottom = (int(cut) for cut in np.maximum(room, 0) * share)
    return photo.crop((left, top, width - right, height - bottom))


def _corners(box: Pixels) -> np.ndarray:
    """(4, 2): top left, top right, bottom right, bottom left."""
    x0, y0, x1, y1 = box
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=np.float64)


def _homography(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(3, 3): the projective map that takes four points to four others; its last number is 1."""
    rows, values = [], []
    for (x, y), (u, v) in zip(here, there, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        values += [u, v]
    return np.append(np.linalg.solve(rows, values), 1.0).reshape(3, 3)
