"""Answers as JSON, and values in their one form."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.data.document import FIELDS, read_strictly, read_tolerantly
from receipt_trainer.extraction.values import DATES, NUMBERS, iso_date, normal, number, text


@pytest.mark.parametrize(
    ("answer", "strict", "tolerant"),
    [
        ('{"a": 1}', {"a": 1}, {"a": 1}),
        ('  {"a": 1}\n', {"a": 1}, {"a": 1}),
        ('{"a": 1} and so on', None, {"a": 1}),
        ('{"a": 1}{"b": 2}', None, {"a": 1}),
        ('Here it is:\n```json\n{"a": 1}\n```\nDone.', None, {"a": 1}),
        ('```\n{"a": 1}', None, {"a": 1}),
        ('```json\n{"a": \n```', None, None),
        ('{"a": 1', None, None),
        ('{"a": 1,}', None, None),
        ("{'a': 1}", None, None),
        ('{"a": NaN}', None, None),
        ('{"a": -Infinity}', None, None),
        ("[1, 2]", None, None),
        ("null", None, None),
        ("", None, None),
        ("[" * 100_000, None, None),
        ('{"a":' * 100_000, None, None),
    ],
)
def test_strict_and_tolerant_reading(answer: str, strict: Any, tolerant: Any) -> None:
    """Only a bare JSON object passes the strict reading; fences and text around pass the tolerant one, repairs none."""
    assert read_strictly(answer) == strict
    assert read_tolerantly(answer) == tolerant


@given(st.text())
def test_any_text_is_read_or_refused(answer: str) -> None:
    """No answer breaks the readers, and what is read strictly is read the same tolerantly."""
    strict = read_strictly(answer)
    tolerant = read_tolerantly(answer)
    assert strict is None or strict == tolerant


@given(st.dictionaries(st.text(), st.one_of(st.none(), st.integers(), st.text())))
def test_a_fenced_object_is_found(value: dict[str, Any]) -> None:
    """Any object inside a code fence is found, if it holds no fence itself."""
    written = json.dumps(value)
    assert read_strictly(f"```json\n{written}\n```") is None
    if "```" not in written:
        assert read_tolerantly(f"```json\n{written}\n```") == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1.234,50", "1234.50"),
        ("1,234.50", "1234.5"),
        ("$ 5", "5"),
        ("$5.00", "5"),
        ("5,50 €", "5.5"),
        ("EUR 12", "12"),
        ("Rs. 12", "12"),
        ("1,234", "1234"),
        ("0,234", "0.234"),
        ("1,23", "1.23"),
        ("1.234", "1.234"),
        ("1.234.567", "1234567"),
        ("1,234,567.8", "1234567.8"),
        ("1 234,5", "1234.5"),
        ("1\u202f234,5", "1234.5"),
        ("1'234.50", "1234.5"),
        ("-3", "-3"),
        ("\u22123.5", "-3.5"),
        ("3.5-", "-3.5"),
        ("(3.50)", "-3.5"),
        ("-$3", "-3"),
        ("19 %", "19"),
        ("\uff11\uff12", "12"),
        (".5", "0.5"),
        (7, "7"),
        (0.1, "0.1"),
        (-2.50, "-2.5"),
        (True, None),
        (None, None),
        ("", None),
        ("five", None),
        ("12 or 13", None),
        ("1-2", None),
        (float("inf"), None),
        ([5], None),
    ],
)
def test_numbers_by_value(value: Any, expected: str | None) -> None:
    """Numbers and texts that hold one number are read by the stated rules, everything else is none."""
    assert number(value) == (None if expected is None else Decimal(expected))


@given(st.text())
def test_any_text_is_a_number_or_none(value: str) -> None:
    """No text breaks the reader of numbers."""
    assert number(value) is None or isinstance(number(value), Decimal)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-01-31", "2024-01-31"),
        ("2024/1/5", "2024-01-05"),
        ("2024-01-31T10:00:00", "2024-01-31"),
        ("31.01.2024", "2024-01-31"),
        ("03.04.2024", "2024-04-03"),
        ("31/01/2024", "2024-01-31"),
        ("01/31/2024", "2024-01-31"),
        ("03/03/2024", "2024-03-03"),
        ("03/04/2024", None),
        ("31.02.2024", None),
        ("2024-13-01", None),
        ("tomorrow", None),
    ],
)
def test_dates_as_iso(value: str, expected: str | None) -> None:
    """Days are read where only one reading is possible."""
    assert iso_date(value) == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Caf\u00e9", "cafe\u0301"),
        ("  Blue   Caf\u00e9\n", "blue caf\u00e9"),
        ("STRASSE", "stra\u00dfe"),
        ("\uff21\uff22", "ab"),
        ("\ufb01ne", "fine"),
        ("", None),
        ("  ", None),
    ],
)
def test_texts_that_mean_the_same(first: str, second: str | None) -> None:
    """Case, spacing and Unicode forms do not count; blank is nothing."""
    assert text(first) == text(second)


def test_texts_that_differ() -> None:
    """Accents, punctuation and signs count."""
    assert text("cafe") != text("café")
    assert text("A-17") != text("A17")


@given(st.text())
def test_one_form_is_final(value: str) -> None:
    """Bringing a text to its one form twice changes nothing more."""
    assert text(text(value)) == text(value)


def test_kinds_of_fields_are_known() -> None:
    """Every numeric and dated field that is named exists in the schema's regions or in the table."""
    names = {name.rpartition(".")[2] for region in FIELDS.values() for name in region}
    assert names | {"quantity", "unit_price", "total"} >= NUMBERS | DATES
    assert normal("vendor.name", "1,5") == "1,5"
    assert normal("tax", "1,5") == Decimal("1.5")
    assert normal("tax", "none") == "none"
    assert normal("due_date", "31.1.2024") == "2024-01-31"
