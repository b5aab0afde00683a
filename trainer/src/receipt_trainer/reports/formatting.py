"""How numbers and foreign texts are written, the same in HTML and in the terminal."""

from __future__ import annotations

import json
import math
import unicodedata
from datetime import datetime
from typing import Any, Final

NOTHING: Final = "–"

_DIRECTION_CONTROLS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They turn around the text beside them as well (UAX #9)."""


def printable(text: str) -> str:
    """`text` without what could act instead of being read: control and escape characters, direction overrides."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_printable_character(character) for character in text)


def _printable_character(character: str) -> str:
    if character in "\n\t":
        return character
    acts = unicodedata.category(character) in ("Cc", "Cs") or character in _DIRECTION_CONTROLS
    return "\ufffd" if acts else character


def one_line(text: object, limit: int = 80) -> str:
    """`text` printable, on one line and cut to `limit` characters."""
    flat = " ".join(printable(str(text)[: 8 * limit]).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def score(value: float | None) -> str:
    """A share 0..1 with three digits."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.3f}"


def percent(value: float | None) -> str:
    """A share 0..1 in percent."""
    return NOTHING if value is None or not math.isfinite(value) else f"{100 * value:.0f}%"


def number(value: float | None) -> str:
    """A count or a measure, at most four significant digits beside whole numbers."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 1e-3 else f"{value:.3g}"


def duration(seconds: float | None) -> str:
    """A time in the two units that matter."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 10 and seconds != round(seconds):
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def short_duration(seconds: float) -> str:
    """A time in its largest unit."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def dollars(value: float | None) -> str:
    """US dollars; small amounts keep three significant digits."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"${value:,.2f}" if abs(value) >= 1 or value == 0 else f"${value:.3g}"


def when(text: str) -> str:
    """A time stamp to the minute, with its zone; anything else as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return one_line(text, 40)
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".rstrip()


def measure(key: str, value: Any) -> tuple[str, str]:
    """Name and value of an entry whose unit is the suffix of its key (`_s`, `_per_s`, `_usd`, `_gib`)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return words_of(key), value_text(value)
    if key.endswith("_per_s"):
        return words_of(key.removesuffix("_per_s")), f"{number(value)} per s"
    if key.endswith("_s"):
        return words_of(key.removesuffix("_s")), duration(value)
    if key.endswith("_usd"):
        return words_of(key.removesuffix("_usd")), dollars(value)
    if key.endswith("_gib"):
        return words_of(key.removesuffix("_gib")), f"{number(value)} GiB"
    return words_of(key), number(value)


def words_of(key: object) -> str:
    """A snake_case key as words; a label's name (upper case) stays as it is."""
    text = one_line(key, 60)
    return text.replace("_", " ") if text == text.lower() else text


def value_text(value: Any, limit: int = 240) -> str:
    """Any configuration value as people write it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return one_line(", ".join(value) or "none", limit)
    if isinstance(value, dict | list | tuple):
        return one_line(json.dumps(value, ensure_ascii=False, default=str) if value else "none", limit)
    return one_line(value, limit)
