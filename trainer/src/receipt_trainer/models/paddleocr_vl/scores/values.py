"""One form for values that mean the same: numbers by value, dates as ISO 8601, text without case and spacing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

NUMBERS: Final = frozenset(
    {"quantity", "unit_price", "total", "subtotal", "tax", "tax_rate", "discount", "grand_total"}
)
"""Last parts of the names of numeric fields."""

DATES: Final = frozenset({"date", "due_date"})

Normal = str | Decimal | None
"""A value in its one form: two values mean the same if their forms are equal."""

_DIGITS = re.compile(r"\d[\d.,'’\s_]*\d|\d|[.,]\d+")
_AROUND = re.compile(r"[\s$€£¥₹₩₽₺₫฿₴₪%A-Za-z.:*]*")
_ISO = re.compile(r"(\d{4})[-./](\d{1,2})[-./](\d{1,2})(?:[T ].*)?")
_DAY_FIRST = re.compile(r"(\d{1,2})([-./])(\d{1,2})\2(\d{4})")


def normal(field: str, value: Any) -> Normal:
    """The one form of a field's value. `field` is its dotted name; of it only the last part counts.

    Nothing (null, an empty or blank text) is None. What cannot be read as what the field holds is taken as text.
    """
    name = field.rpartition(".")[2]
    if name in NUMBERS and (read := number(value)) is not None:
        return read
    if name in DATES and isinstance(value, str) and (day := date(value)) is not None:
        return day
    return text(value)


def text(value: Any) -> str | None:
    """NFKC, case folded, every run of white space one space; None for nothing."""
    if value is None:
        return None
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", str(value)).casefold())
    return " ".join(folded.split()) or None


def number(value: Any) -> Decimal | None:
    """The value of a number, or of a text that holds one number; None for anything else.

    Where a text has points and commas, the last of them is the decimal mark. Where it has one mark, several times,
    that groups thousands. A single point is a decimal mark, as in JSON; a single comma is one too, unless exactly three
    digits follow one to three others (1,234). A minus sign before or behind, or brackets around, negates.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    if not isinstance(value, str):
        found = Decimal(str(value))
        return found if found.is_finite() else None
    flat = unicodedata.normalize("NFKC", value).replace("\u2212", "-").strip()
    match = _DIGITS.search(flat)
    if match is None:
        return None
    before, after = flat[: match.start()], flat[match.end() :]
    negative = before.count("-") + after.count("-") == 1 or ("(" in before and ")" in after)
    if not all(_AROUND.fullmatch(re.sub(r"[-+()]", "", part)) for part in (before, after)):
        return None
    try:
        found = Decimal(_plain(re.sub(r"['’\s_]", "", match[0])))
    except InvalidOperation:
        return None
    return -found if negative else found


def _plain(digits: str) -> str:
    """Digits with marks as Decimal reads them."""
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        mark = max(".,", key=digits.rfind)
        return digits.replace("," if mark == "." else ".", "").replace(mark, ".")
    if points > 1 or commas > 1 or re.fullmatch(r"[1-9]\d{0,2},\d{3}", digits):
        return digits.replace(".", "").replace(",", "")
    return digits.replace(",", ".")


def date(value: str) -> str | None:
    """A day as YYYY-MM-DD; None if it is none, or if day and month could be either (03/04/2024)."""
    flat = unicodedata.normalize("NFKC", value).strip()
    if match := _ISO.fullmatch(flat):
        return _iso(match[1], match[2], match[3])
    match = _DAY_FIRST.fullmatch(flat)
    if match is None:
        return None
    first, mark, second, year = match.groups()
    if mark == "." or int(first) > 12 or first == second:
        return _iso(year, second, first)
    return _iso(year, first, second) if int(second) > 12 else None


def _iso(year: str, month: str, day: str) -> str | None:
    from datetime import date as calendar_day

    try:
        return calendar_day(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None


def at(document: Mapping[str, Any], field: str) -> Any:
    """The value of a dotted field; None where it, or what should hold it, is missing or of another kind."""
    value: Any = document
    for part in field.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def rows_of(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The line items that are objects; none where `line_items` is no list."""
    items = document.get("line_items")
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
