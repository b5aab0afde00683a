"""Amounts and dates as they stand on receipts, read where they can mean only one thing."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Final, Literal

DateOrder = Literal["dmy", "mdy", "ymd"]

_NUMBER: Final = re.compile(r"(?<![\d.,])[-(]?\s*\d[\d.,' \u00a0]*")
_NUMERIC_DATE: Final = re.compile(r"(?<!\d)(\d{1,4})\s?([/.\-])\s?(\d{1,2})\s?\2\s?(\d{4}|\d{2})(?!\d)")
_NAMED_DATE: Final = re.compile(
    r"(?<![^\W_])(?:(\d{1,2})[\s\-./]*([A-Za-z]{3})[a-z]*|([A-Za-z]{3})[a-z]*[\s\-./]*(\d{1,2}))[\s\-.,/']*(\d{4}|\d{2})(?!\d)"
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class Unreadable(ValueError):  # noqa: N818 - not every text is an amount or a date
    """A text holds no value, or more than one reading; the message says which."""


def read_amount(text: str, point: Literal[".", ","] | None = None) -> Decimal:
    """The one number in a text, currency marks aside.

    A single separator before three digits ("72.000") may be either sign: then `point`, the decimal sign, must be known.

    Raises:
        Unreadable: there is none, or more than one reading.
    """
    found = [match.group().strip(" .,'\u00a0") for match in _NUMBER.finditer(text)]
    if len(found) != 1:
        raise Unreadable("no number" if not found else "several numbers")
    number = re.sub(r"['\s\u00a0]", "", found[0])
    negative = number[0] in "-(" or "-" in text[: text.find(found[0])]
    number = number.lstrip("-(")
    marks = [mark for mark in number if mark in ".,"]
    decimal_sign = point
    if point is None and marks:
        tail = len(number) - 1 - number.rfind(marks[-1])
        if len(set(marks)) == 2:
            decimal_sign = "," if marks[-1] == "," else "."
        elif len(marks) > 1:
            decimal_sign = "." if marks[0] == "," else ","
        elif tail == 3 and number.split(marks[0])[0] != "0":
            raise Unreadable("the separator may be that of decimals or of thousands")
        else:
            decimal_sign = "," if marks[0] == "," else "."
    return _value(number, decimal_sign or ".") * (-1 if negative else 1)


def _value(number: str, point: str) -> Decimal:
    other = "," if point == "." else "."
    whole, _, rest = number.partition(point)
    groups = whole.split(other)
    if other in rest or point in rest or any(len(group) != 3 for group in groups[1:]) or len(groups[0]) > 12:
        raise Unreadable("not one number")
    if len(groups) > 1 and not 1 <= len(groups[0]) <= 3:
        raise Unreadable("not one number")
    return Decimal("".join(groups) + (f".{rest}" if rest else ""))


def read_date(text: str, order: DateOrder | None = None) -> date:
    """The one day in a text; a year of two digits is in this century.

    Raises:
        Unreadable: there is none, or more than one reading, which `order` may resolve.
    """
    days: set[date] = set()
    for match in _NUMERIC_DATE.finditer(text):
        first, _, second, third = match.groups()
        days |= _numeric(first, second, third, order)
    for match in _NAMED_DATE.finditer(text):
        day, after, before, other, year = match.groups()
        month = (after or before).lower()
        if month in _MONTHS:
            days |= _day(year, _MONTHS.index(month) + 1, int(day or other))
    if len(days) != 1:
        raise Unreadable("no date" if not days else "several readings of the date")
    return days.pop()


def _numeric(first: str, second: str, third: str, order: DateOrder | None) -> set[date]:
    if len(first) == 4 or order == "ymd":
        return _day(first, int(second), int(third)) if len(third) <= 2 else set()
    if len(first) == 3:
        return set()
    orders = (order,) if order else ("dmy", "mdy")
    found: set[date] = set()
    for form in orders:
        month, day = (second, first) if form == "dmy" else (first, second)
        found |= _day(third, int(month), int(day))
    return found


def _day(year: str, month: int, day: int) -> set[date]:
    if len(year) not in (2, 4):
        return set()
    try:
        return {date(int(year) + (2000 if len(year) == 2 else 0), month, day)}
    except ValueError:
        return set()
