"""Dates and times of receipts: every reading is seen, and only evidence decides between them."""

from __future__ import annotations

from datetime import date

import pytest
from babel import Locale, localedata
from babel.dates import format_date
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.data.synthetic.locales import languages
from receipt_trainer.extraction.dates import DateEvidence, date_orders, dated, times

LOCALES = sorted(localedata.locale_identifiers())
LANGUAGES = sorted(languages())


def days(text: str) -> list[list[str]]:
    """The readings of each date in a text."""
    return [sorted({day.isoformat() for day in one.days.values()}) for one in dated(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("25/12/2018,8:13", [["2018-12-25"]]),
        ("06/03/2018", [["2018-03-06", "2018-06-03"]]),
        ("05/05/2018", [["2018-05-05"]]),
        ("2013/05/21", [["2013-05-21"]]),
        ("26/02/18", [["2018-02-26", "2026-02-18"]]),
        ("31/8/201621:52:19", [["2016-08-31"]]),
        ("Tuesday,March27th2018", [["2018-03-27"]]),
        ("ThuAug09,2012", [["2012-08-09"]]),
        ("22Aug'16", [["2016-08-22"]]),
        ("21NOV´15", [["2015-11-21"]]),
        ("JUL09,2008", [["2008-07-09"]]),
        ("30 MAR 2018", [["2018-03-30"]]),
        ("jeudi23juin2016", [["2016-06-23"]]),
        ("3 de marzo de 2018", [["2018-03-03"]]),
        ("2018年3月6日", [["2018-03-06"]]),
        ("20180428/191204", [["2018-04-28"]]),
        ("NOV/25/2016 DIC/21/2016", [["2016-11-25"], ["2016-12-21"]]),
        ("Tue 05/04/2011", [["2011-04-05"]]),
        ("6. lip 2018", [["2018-06-06", "2018-07-06"]]),
        ("MAY 2018", []),
        ("Jun15", []),
        ("99.99.99", []),
        ("15403-119386", []),
        ("31/02/2018", []),
    ],
)
def test_readings(text: str, found: list[list[str]]) -> None:
    """Dates as receipts print them, glued to times and weekdays too, with all days that they may mean."""
    assert days(text) == found


@given(st.sampled_from(LOCALES), st.dates(date(2001, 1, 1), date(2089, 12, 31)))
def test_short_dates_of_all_countries(code: str, day: date) -> None:
    """A date that Babel writes in digits, for any country, is read as that day or is one of several readings."""
    for one in dated(format_date(day, "short", locale=Locale.parse(code))):
        assert day in one.days.values()
        assert DateEvidence().decide(one) in (day, None)


@given(st.sampled_from(LANGUAGES), st.sampled_from(["medium", "long"]), st.dates(date(2001, 1, 1), date(2089, 12, 31)))
def test_named_months(code: str, form: str, day: date) -> None:
    """Months by name or abbreviation are read in all languages of the generator."""
    (one,) = dated(format_date(day, form, locale=Locale.parse(code)))
    assert day in one.days.values()
    assert DateEvidence().decide(one) in (day, None)


@given(st.text(alphabet="0123456789/-.: ,JANmaruli'年月日", max_size=20))
def test_any_text(text: str) -> None:
    """No text breaks the reader, and what it gives are days."""
    assert all(one.days for one in dated(text))


def decide(text: str, **evidence: object) -> str | None:
    (one,) = dated(text)
    found = DateEvidence(**evidence).decide(one)  # type: ignore[arg-type]
    return None if found is None else found.isoformat()


def test_what_decides() -> None:
    """The user's order, then the receipt's other dates, then a clear majority in training; else nothing does."""
    others = tuple(dated("25/12/2017 06/03/2018"))
    assert decide("06/03/2018") is None
    assert decide("06/03/2018", given="mdy") == "2018-06-03"
    assert decide("25/12/2018", given="mdy") == "2018-12-25"
    assert decide("06/03/2018", others=others) == "2018-03-06"
    assert decide("06/03/2018", others=others, given="mdy") == "2018-06-03"
    assert decide("06/03/2018", others=tuple(dated("03 JUN 2018"))) == "2018-06-03"
    assert decide("06/03/2018", others=tuple(dated("25/12/2017 12/25/2017"))) is None
    assert decide("06/03/2018", learned={"dmy": 99, "mdy": 1}) == "2018-03-06"
    assert decide("06/03/2018", learned={"dmy": 80, "mdy": 20}) is None
    assert decide("06/03/2018", learned={"dmy": 9}) is None
    assert decide("18-01-16", learned={"dmy": 99, "ymd": 1}) == "2016-01-18"
    assert decide("14/02/18", learned={"dmy": 42, "mdy": 74, "ymd": 11}) == "2018-02-14"
    assert decide("08/01/16", learned={"dmy": 42, "mdy": 74, "ymd": 11}) is None


def test_years_that_have_not_come() -> None:
    """A year in front with two digits is not one that lies ahead; other readings are not touched."""
    assert decide("31/8/16") is None
    assert decide("31/8/16", latest=date(2027, 1, 1)) == "2016-08-31"
    assert decide("17/8/16", latest=date(2027, 1, 1)) is None
    assert decide("01/08/27", latest=date(2027, 1, 1)) is None


def test_orders_are_counted() -> None:
    """Only dates that can be read in one order alone count, and named months count for none."""
    texts = ["25/12/2018", "12/25/2018", "06/03/2018", "2018-03-04", "5 MAY 2018", "05/05/2018", "no date"]
    assert date_orders(texts) == {"dmy": 1, "mdy": 1, "ymd": 1}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("7:51pm", "19:51"),
        ("21:52:19", "21:52:19"),
        ("11.39AM", "11:39"),
        ("11:41A", "11:41"),
        ("11h05", "11:05"),
        ("12:30 AM", "00:30"),
        ("12:01 p.m.", "12:01"),
        ("14:03Num.", "14:03"),
        ("25/12/2018,8:13", "08:13"),
        ("14:05 PM", "14:05"),
        ("24:10", None),
        ("1234", None),
    ],
)
def test_times(text: str, found: str | None) -> None:
    """Times of day in 24 hours."""
    assert next(times(text), None) == found
