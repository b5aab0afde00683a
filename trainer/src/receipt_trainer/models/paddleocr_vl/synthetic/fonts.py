"""Fonts: those that matplotlib brings along, and for scripts that they lack those of the system."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from PIL import ImageFont

BUNDLED: Final = {
    "sans": ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    "serif": ("DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf"),
    "mono": ("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"),
    "times": ("STIXGeneral.ttf", "STIXGeneralBol.ttf"),
}
"""Families with their regular and bold file; the same on every machine."""

_ASCII: Final = frozenset(map(chr, range(33, 127)))


@dataclass(frozen=True, slots=True)
class Family:
    """A font family: paths of its regular and bold files (the same where there is no bold one)."""

    name: str
    regular: Path
    bold: Path

    def covers(self, letters: Iterable[str]) -> bool:
        """Whether both files have a glyph for each letter."""
        wanted = frozenset(letters)
        return wanted <= glyphs(self.regular) and wanted <= glyphs(self.bold)


@dataclass(frozen=True, slots=True)
class Face:
    """A family in one weight and size (pixels of the em)."""

    family: Family
    size: int
    bold: bool = False

    @property
    def font(self) -> ImageFont.FreeTypeFont:
        """The font to measure and draw with."""
        return _load(self.family.bold if self.bold else self.family.regular, self.size)

    @property
    def line_height(self) -> int:
        """Pixels from one baseline to the next."""
        ascent, descent = self.font.getmetrics()
        return ascent + descent + max(2, self.size // 8)

    def width(self, text: str) -> int:
        """Pixels that a text takes, rounded up."""
        return int(self.font.getlength(text)) + 1


@lru_cache(maxsize=256)
def _load(path: Path, size: int) -> ImageFont.FreeTypeFont:
    # The basic layout is the same wherever Pillow is; the complex one depends on a library of the system.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=512)
def glyphs(path: Path) -> frozenset[str]:
    """The characters that a font has; none if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(str(path)).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@lru_cache(maxsize=1)
def bundled() -> tuple[Family, ...]:
    """The families that come with matplotlib."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return tuple(Family(name, folder / files[0], folder / files[1]) for name, files in BUNDLED.items())


@lru_cache(maxsize=64)
def families_for(letters: frozenset[str], folders: tuple[Path, ...] = ()) -> tuple[Family, ...]:
    """Families that have these letters and ASCII: the bundled ones, else those of `folders` and the system, by name."""
    found = tuple(family for family in bundled() if family.covers(letters))
    if found:
        return found
    wanted = letters | _ASCII
    others = sorted((path for path in _others(folders) if wanted <= glyphs(path)), key=lambda path: path.name)
    return tuple(Family(path.stem, path, path) for path in others[:4])


@lru_cache(maxsize=8)
def _others(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    from matplotlib.font_manager import findSystemFonts

    found = findSystemFonts() if not folders else findSystemFonts(fontpaths=[str(folder) for folder in folders])
    return tuple(sorted(Path(path) for path in found))
