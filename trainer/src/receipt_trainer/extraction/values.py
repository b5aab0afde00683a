"""Amounts and dates as they stand on documents.

`read_amount` and `read_date` find the one value in a printed text; `normal` gives values of JSON answers one form in
which equal meanings are equal: numbers by value, dates as ISO 8601, text without case and spacing.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from decimal import Decimal
from typing import Any, Final, Literal

from receipt_trainer.extraction.amounts import is_negative, numbers
from receipt_trainer.extraction.dates import DateOrder, dated, flat


class Unreadable(ValueError):  # noqa: N818 - not every text is an amount or a date
    """A text holds no value, or more than one reading; the message says which."""


def read_amount(text: str, point: Literal[".", ","] | None = None) -> Decimal:
    """The one number in a text, currency marks aside.

    A single separator before three digits ("72.000") may be either sign: then `point`, the decimal sign, must be known.

    Raises:
        Unreadable: there is none, or more than one reading.
    """
    plain = flat(text)
    found = numbers(plain)
    if len(found) != 1:
        raise Unreadable("no number" if not found else "several numbers")
    match, readings = found[0]
    if not readings:
        raise Unreadable("not one number")
    if len(readings) > 1 and point is None:
        raise Unreadable("the separator may be that of decimals or of thousands")
    if point is not None and point not in readings and "" not in readings:
        raise Unreadable("not one number with this decimal sign")
    value = readings[point] if point in readings else next(iter(readings.values()))
    return -value if "-" in plain[: match.start()] or is_negative(plain, match) else value


def read_date(text: str, order: DateOrder | None = None) -> date:
    """The one day in a text; a year of two digits is in this century, and comes first only if `order` says so.

    Raises:
        Unreadable: there is none, or more than one reading, which `order` may resolve.
    """
    days: set[date] = set()
    for one in dated(text):
        readings = {key: day for key, day in one.days.items() if key != "ymd" or not one.short} or one.days
        wanted = one.days.get(order) if order else None
        days |= {wanted} if wanted else set(readings.values())
    if len(days) != 1:
        raise Unreadable("no date" if not days else "several readings of the date")
    return days.pop()


NUMBERS: Final = frozenset(
    {"quantity", "unit_price", "total", "subtotal", "tax", "tax_rate", "discount", "grand_total"}
)
"""Last parts of the names of numeric fields."""

DATES: Final = frozenset({"date", "due_date"})

Normal = str | Decimal | None
"""A value in its one form: two values mean the same if their forms are equal."""

_AROUND: Final = re.compile(r"[\s$€£¥₹₩₽₺₫฿₴₪%A-Za-z.:*()+-]*")


def normal(field: str, value: Any) -> Normal:
    """The one form of a field's value. `field` is its dotted name; of it only the last part counts.

    Nothing (null, an empty or blank text) is None. What cannot be read as what the field holds is taken as text.
    """
    name = field.rpartition(".")[2]
    if name in NUMBERS and (read := number(value)) is not None:
        return read
    if name in DATES and isinstance(value, str) and (day := iso_date(value)) is not None:
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
    plain = flat(value)
    one = numbers(plain)
    if len(one) != 1 or not all(map(_AROUND.fullmatch, (plain[: one[0][0].start()], plain[one[0][0].end() :]))):
        return None
    try:
        return read_amount(plain, "." if "." in one[0][1] else None)
    except Unreadable:
        return None


def iso_date(value: str) -> str | None:
    """A day as YYYY-MM-DD; None if it is not a day, or if day and month could be either (03/04/2024)."""
    found = dated(value)
    if len(found) != 1 or found[0].short:
        return None
    days = dict(found[0].days)
    if len(set(days.values())) > 1 and "dmy" in days and "." in value:
        return days["dmy"].isoformat()  # who writes points writes the day first
    return days.popitem()[1].isoformat() if len(set(days.values())) == 1 else None
