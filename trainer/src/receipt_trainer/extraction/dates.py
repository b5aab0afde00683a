"""Dates and times as they stand on receipts: every reading that a text admits, and what decides between them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from typing import Final, Literal

DateOrder = Literal["dmy", "mdy", "ymd"]

ORDERS: Final[tuple[DateOrder, ...]] = ("dmy", "mdy", "ymd")
CLEAR_SHARE: Final = 0.9
"""Of a model's training dates: an order that so many of them have decides."""
CLEAR_COUNT: Final = 10
"""Fewer training dates decide nothing."""

_END: Final = r"(?!\d)|(?=\d{1,2}:\d\d)"  # words may be glued: 31/8/201621:52
_NUMERIC: Final = re.compile(
    rf"(?<!\d)(\d{{1,4}})\s?([/.\-])\s?(\d{{1,2}})\s?\2\s?((?:19|20)\d\d(?:{_END})|\d{{1,2}}(?:{_END}))"
)
_LETTERS: Final = r"([^\W\d_]{3,})"
_YEAR: Final = rf"((?:19|20)\d\d|\d\d)(?:{_END})"
_OF: Final = r"(?:d[eo][l]?\s+|of\s+)?"
_DAY_NAMED: Final = re.compile(
    rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th|er|[ºª°])?[\s\-./,]*{_OF}{_LETTERS}[\s\-./,'’`]*{_OF}{_YEAR}", re.I
)
_NAMED_DAY: Final = re.compile(
    rf"{_LETTERS}[\s\-./]*(\d{{1,2}})(?:(?:st|nd|rd|th)?[\s\-.,/'’`]*((?:19|20)\d\d)(?:{_END})"
    rf"|(?:st|nd|rd|th)?[\s\-.,/'’`]+(\d\d)(?:{_END}))",
    re.I,
)
_YEAR_NAMED: Final = re.compile(rf"(?<!\d)((?:19|20)\d\d)[\s\-./,]*{_LETTERS}[\s\-./]*(\d{{1,2}})(?!\d)")
_HAN: Final = re.compile(r"(?<!\d)(\d{4})\s?[年년]\s?(\d{1,2})\s?[月월]\s?(\d{1,2})\s?[日일]?")
_COMPACT: Final = re.compile(r"(?<![\d.,])(\d{8})(?![\d.,])")
_TIME: Final = re.compile(
    r"(?<![\d.:])(\d{1,2})\s?([:.hH])\s?(\d{2})(?:\s?[:.]\s?(\d{2}))?(?![\d%])\s?(?:([AaPp])(?:\.?\s?[Mm](?![A-Za-z]{2})|\b))?"
)

_MONTHS: Final = (
    "january januar janvier enero gennaio stycznia styczen ocak ιανουαριος ιανουαριου января январь januari janeiro",
    "february februar fevrier febrero febbraio lutego luty subat φεβρουαριος φεβρουαριου февраля февраль februari"
    " pebruari fevereiro feber",
    "march marz mars marzo marca marzec mart μαρτιος μαρτιου марта март maret mac maart marco mrt",
    "april avril abril aprile kwietnia kwiecien nisan απριλιος απριλιου апреля апрель avr",
    "may mai mayo maggio maja maj mayıs mayis μαιος μαιου μαι мая май mei maio",
    "june juni juin junio giugno czerwca czerwiec haziran ιουνιος ιουνιου июня июнь jun junho",
    "july juli juillet julio luglio lipca lipiec temmuz ιουλιος ιουλιου июля июль julai julho",
    "august aout agosto sierpnia sierpien agustos αυγουστος αυγουστου августа август agustus agt ogos augustus",
    "september septembre septiembre settembre wrzesnia wrzesien eylul σεπτεμβριος σεπτεμβριου сентября сентябрь"
    " setiembre setembro",
    "october oktober octobre octubre ottobre pazdziernika pazdziernik ekim οκτωβριος οκτωβριου октября октябрь outubro",
    "november novembre noviembre novembre listopada listopad kasım kasim νοεμβριος νοεμβριου ноября ноябрь nopember"
    " novembro",
    "december dezember decembre diciembre dicembre grudnia grudzien aralık aralik δεκεμβριος δεκεμβριου декабря"
    " декабрь desember disember dezembro",
)
"""Month names without accents, in the languages of `data/synthetic` and some neighbours; three letters of one do."""

_ELSEWHERE: Final = {"lip": (6,), "lis": (10,), "listopad": (10,), "listopada": (10,)}
"""What these mean in languages that are not in the list (Croatian): then both readings stand."""

_WEEKDAYS: Final = (
    "monday montag lundi lunes lunedi",
    "tuesday dienstag mardi martes martedi",
    "wednesday mittwoch mercredi miercoles mercoledi",
    "thursday donnerstag jeudi jueves giovedi",
    "friday freitag vendredi viernes venerdi",
    "saturday samstag samedi sabado sabato",
    "sunday sonntag dimanche domingo domenica",
)


_MARKS: Final = str.maketrans(
    {**dict.fromkeys("\u2212\u2013\u2010", "-"), **dict.fromkeys("\u060c\u066c\u2e41", ","), "\u066b": ".", "´": "'"}
)
"""Minus signs, and the signs of Arabic numbers."""


def flat(text: str) -> str:
    """NFKC with ASCII digits, plain minus signs and marks, and without marks of direction."""
    plain = unicodedata.normalize("NFKC", text.translate(_MARKS)).translate(_MARKS)
    return "".join(str(int(c)) if c.isdecimal() else c for c in plain if unicodedata.category(c) != "Cf")


@dataclass(frozen=True, slots=True)
class Dated:
    """A date on a receipt and the days that it may mean.

    Attributes:
        days: by the order that gives the day; under "" a day that no order changes (the month has a name).
        short: whether the year has two digits.
    """

    days: Mapping[DateOrder | Literal[""], date]
    short: bool

    @property
    def order(self) -> DateOrder | None:
        """The one order in which this is a date; None if there are several, or day and month are equal."""
        orders = [order for order in self.days if order]
        return orders[0] if len(orders) == 1 else None


def dated(text: str) -> list[Dated]:
    """The dates in a text, in order; what is no day of the calendar is left out.

    A weekday beside a date leaves the readings that fall on it, if any does.
    """
    plain = flat(text)
    found: list[tuple[re.Match[str], Dated]] = [
        (match, _numeric(match[1], match[3], match[4])) for match in _NUMERIC.finditer(plain)
    ]
    for pattern, year, name, day in ((_DAY_NAMED, 3, 2, 1), (_NAMED_DAY, 3, 1, 2), (_YEAR_NAMED, 1, 2, 3)):
        for match in pattern.finditer(plain):
            found.append((match, _named(match[year] or match[match.lastindex or 0], match[name], int(match[day]))))
    for match in _HAN.finditer(plain):
        meant = _day(match[1], int(match[2]), int(match[3]))
        found.append((match, Dated({"": meant} if meant else {}, False)))
    if not any(one.days for _, one in found):
        found += [(match, _compact(match[1])) for match in _COMPACT.finditer(plain)]
    kept: list[Dated] = []
    end = 0
    for match, one in sorted(found, key=lambda pair: pair[0].start()):
        if one.days and match.start() >= end:
            end = match.end()
            kept += [] if one in kept else [one]
    return [_on_weekday(one, plain) for one in kept]


def _named(year: str, name: str, day: int) -> Dated:
    """Two months of one name are two readings."""
    days = sorted({one for month in months(name) if (one := _day(year, month, day)) is not None})
    if len(days) == 1:
        return Dated({"": days[0]}, len(year) == 2)
    return Dated(dict(zip(ORDERS, days, strict=False)), len(year) == 2)


def _numeric(first: str, second: str, third: str) -> Dated:
    days: dict[DateOrder | Literal[""], date] = {}
    forms: list[tuple[DateOrder, str, str, str]] = []
    if len(first) == 4 and len(third) <= 2:
        forms = [("ymd", first, second, third)]
    elif len(first) <= 2:
        forms = [("dmy", third, second, first), ("mdy", third, first, second), ("ymd", first, second, third)]
    for order, year, month, day in forms:
        if (found := _day(year, int(month), int(day))) is not None:
            days[order] = found
    return Dated(days, len(first) <= 2 and len(third) <= 2)


def _compact(digits: str) -> Dated:
    forms: tuple[tuple[DateOrder, str, str, str], ...] = (
        ("ymd", digits[:4], digits[4:6], digits[6:]),
        ("dmy", digits[4:], digits[2:4], digits[:2]),
        ("mdy", digits[4:], digits[:2], digits[2:4]),
    )
    days: dict[DateOrder | Literal[""], date] = {}
    for order, year, month, day in forms:
        found = _day(year, int(month), int(day)) if year[:2] in ("19", "20") else None
        if found is not None:
            days[order] = found
    return Dated(days, False)


def _day(year: str, month: int, day: int) -> date | None:
    """A day; a year of two digits is in this century, one of other than two or four is none."""
    if len(year) not in (2, 4):
        return None
    try:
        return date(int(year) + (2000 if len(year) == 2 else 0), month, day)
    except ValueError:
        return None


def _on_weekday(one: Dated, text: str) -> Dated:
    if len(set(one.days.values())) < 2:
        return one
    named = {number for word in re.findall(r"[^\W\d_]{3,}", text) if (number := _weekday(_fold(word))) is not None}
    kept = {order: day for order, day in one.days.items() if day.weekday() in named}
    return Dated(kept, one.short) if kept else one


@cache
def _weekday(word: str) -> int | None:
    for number, names in enumerate(_WEEKDAYS):
        if any(name.startswith(word) for name in names.split()):
            return number
    return None


def months(name: str) -> tuple[int, ...]:
    """The months (1..12) that a name or the beginning of one may mean, also behind a weekday; none for another word."""
    word = _fold(name)
    behind = word[3:] if _weekday(word[:3]) is not None else ""
    return _months(word) or (_months(behind) if len(behind) >= 3 else ())


@cache
def _months(name: str) -> tuple[int, ...]:
    found = [n for n, names in enumerate(_MONTHS, start=1) if any(known.startswith(name) for known in names.split())]
    return tuple(sorted({*found, *_ELSEWHERE.get(name, ())}))


def _fold(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


def date_orders(texts: Iterable[str]) -> Counter[DateOrder]:
    """How many dates of these texts can be read in one order alone, by order."""
    return Counter(one.order for text in texts for one in dated(text) if one.order is not None)


@dataclass(frozen=True)
class DateEvidence:
    """What decides between the readings of a date.

    Attributes:
        given: the order that the user states, or None.
        others: all dates of the receipt.
        learned: unambiguous dates of the model's training, by order.
        latest: a year of two digits does not come first where the day would be later than this; None: it may. Nor
            does it where training has hardly a date with the year first.
    """

    given: DateOrder | None = None
    others: tuple[Dated, ...] = ()
    learned: Mapping[DateOrder, int] | None = None
    latest: date | None = None

    @cached_property
    def _sure(self) -> set[date]:
        """Days of dates that can mean one day only."""
        return {day for other in self.others if len(found := set(other.days.values())) == 1 for day in found}

    @cached_property
    def _proved(self) -> set[DateOrder | None]:
        """The orders of dates that can be written in one order only."""
        return {other.order for other in self.others}

    def possible(self, one: Dated) -> list[date]:
        """The days that a date may mean, the earliest first."""
        return sorted(set(self._possible(one).values()))

    def _possible(self, one: Dated) -> dict[DateOrder | Literal[""], date]:
        days = dict(one.days)
        if one.short and len(days) > 1 and "ymd" in days and self.given != "ymd":
            total = sum((self.learned or {}).values())
            rare = total >= CLEAR_COUNT and (self.learned or {}).get("ymd", 0) <= (1 - CLEAR_SHARE) * total
            if rare or (self.latest is not None and days["ymd"] > self.latest):
                del days["ymd"]
        return days

    def decide(self, one: Dated) -> date | None:
        """The day that is meant, or None if nothing decides.

        In turn: only one day is possible; the user's order; another date of the receipt that can only be one of these
        days; the one order in which the receipt's other dates are written; a clear majority in training.
        """
        readings = self._possible(one)
        days = set(readings.values())
        if len(days) == 1:
            return next(iter(days))
        if self.given is not None:
            return one.days.get(self.given)
        if len(self._sure & days) == 1:
            return next(iter(self._sure & days))
        proved = self._proved & readings.keys()
        if len(proved) == 1:
            return next(day for order, day in readings.items() if order in proved)
        return self._learned(readings)

    def _learned(self, readings: Mapping[DateOrder | Literal[""], date]) -> date | None:
        counts: dict[date, int] = {}
        for order, day in readings.items():
            counts[day] = counts.get(day, 0) + ((self.learned or {}).get(order, 0) if order else 0)
        total = sum(counts.values())
        best = max(counts, key=lambda day: counts[day])
        return best if total >= CLEAR_COUNT and counts[best] >= CLEAR_SHARE * total else None


def times(text: str) -> Iterator[str]:
    """The times of a text as HH:MM or HH:MM:SS of 24 hours."""
    for match in _TIME.finditer(flat(text)):
        hour, mark, minute, second, half = match.groups()
        clock = int(hour)
        if half is not None:
            if not 1 <= clock <= 12:
                half = None  # 14:05 PM is five past two
            else:
                clock = clock % 12 + (12 if half in "Pp" else 0)
        if (
            clock < 24
            and int(minute) < 60
            and int(second or 0) < 60
            and (mark != "." or half or match[0] == text.strip())
        ):
            yield f"{clock:02}:{minute}" + (f":{second}" if second else "")
