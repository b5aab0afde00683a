"""One form for values that mean the same: numbers by value, dates as ISO 8601, text without case and spacing."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
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


COLUMNS: Final = ("description", "quantity", "unit_price", "total")

Row = tuple[Normal, ...]
"""A line item's cells in the order of `COLUMNS`, each in its one form."""


MIN_ROWS: Final = 200
"""Rows of an answer that are looked at in any case; twice as many as the truth has are too."""


def most_rows(gold: Mapping[str, Any]) -> int:
    """How many rows of an answer are looked at. Those after them are wrong, whatever they say."""
    return max(MIN_ROWS, 2 * len(rows_of(gold)))


def has_too_many_rows(gold: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether an answer repeats itself: its table has more entries than are looked at."""
    items = found.get("line_items")
    return isinstance(items, list) and len(items) > most_rows(gold)


def row_of(item: Mapping[str, Any]) -> Row:
    """The cells of a line item; what is missing is None."""
    return tuple(normal(column, item.get(column)) for column in COLUMNS)


def match_rows(gold: Sequence[Row], found: Sequence[Row]) -> list[tuple[int, int]]:
    """Pairs (gold row, found row), each row at most once, with the most equal cells in all; order does not count.

    As many pairs as the shorter table has rows, in the order of gold. Of two rows that fit as well the one that is
    nearer in the table is taken. Equal rows are paired first, which no best pairing can beat; the rest is the
    assignment problem, solved exactly (Hungarian method after Kuhn 1955 with potentials, O(n^3)).
    """
    waiting: dict[Row, list[int]] = defaultdict(list)
    for at in reversed(range(len(found))):
        waiting[found[at]].append(at)
    pairs = [(at, waiting[row].pop()) for at, row in enumerate(gold) if waiting.get(row)]
    left_gold = sorted(set(range(len(gold))) - {pair[0] for pair in pairs})
    left_found = sorted(set(range(len(found))) - {pair[1] for pair in pairs})
    span = 1 + len(gold) + len(found)
    costs = [[_cost(gold[a], found[b], abs(a - b) / span**2) for b in left_found] for a in left_gold]
    pairs += [(left_gold[a], left_found[b]) for a, b in assign(costs)]
    return sorted(pairs)


def _cost(gold: Row, found: Row, distance: float) -> float:
    """Cells that differ. `distance` (all distances together below 1) only decides between equals."""
    return sum(a != b for a, b in zip(gold, found, strict=True)) + distance


def assign(costs: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Pairs (row, column) of a cost matrix with the least sum, as many as its shorter side has."""
    if not costs or not costs[0]:
        return []
    if len(costs) > len(costs[0]):
        return sorted((row, column) for column, row in assign(list(zip(*costs, strict=True))))
    height, width = len(costs), len(costs[0])
    row_potential, column_potential = [0.0] * (height + 1), [0.0] * (width + 1)
    row_at = [0] * (width + 1)  # row that holds a column, from 1; 0: free
    for row in range(1, height + 1):
        row_at[0] = row
        _augment(costs, row_potential, column_potential, row_at)
    return sorted((row_at[column] - 1, column - 1) for column in range(1, width + 1) if row_at[column])


def _augment(
    costs: Sequence[Sequence[float]], row_potential: list[float], column_potential: list[float], row_at: list[int]
) -> None:
    """Give the row in `row_at[0]` a column, moving others along the cheapest path."""
    width = len(column_potential) - 1
    least, came_from, done = [float("inf")] * (width + 1), [0] * (width + 1), [False] * (width + 1)
    column = 0
    while True:
        done[column] = True
        row, delta, following = row_at[column], float("inf"), 0
        for other in range(1, width + 1):
            if done[other]:
                continue
            reduced = costs[row - 1][other - 1] - row_potential[row] - column_potential[other]
            if reduced < least[other]:
                least[other], came_from[other] = reduced, column
            if least[other] < delta:
                delta, following = least[other], other
        for other in range(width + 1):
            if done[other]:
                row_potential[row_at[other]] += delta
                column_potential[other] -= delta
            else:
                least[other] -= delta
        column = following
        if not row_at[column]:
            break
    while column:
        row_at[column] = row_at[came_from[column]]
        column = came_from[column]
