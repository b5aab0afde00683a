"""Amounts, quantities and phone numbers: every reading is seen, and only evidence decides between them."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest
from babel import Locale, localedata
from babel.numbers import format_currency, format_decimal, get_currency_precision
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.extraction.amounts import MoneyEvidence, money, phones, proved_points, quantity

LOCALES = sorted(set(localedata.locale_identifiers()) - {"tok", "tok_001"})  # constructed: groups of two digits


def read(text: str) -> list[str] | None:
    """The values that a text may have."""
    found = money(text)
    return None if found is None else [str(value) for value in found.values]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("RM 12.50", ["12.50"]),
        ("12,50-", ["-12.50"]),
        ("(3.00)", ["-3.00"]),
        ("($3.13)", ["-3.13"]),
        ("$108.85-", ["-108.85"]),
        ("-Rp 34,363", ["-34363", "-34.363"]),
        ("1'234.50", ["1234.50"]),
        ("1 234,50", ["1234.50"]),
        ("1,23,456.00", ["123456.00"]),
        ("1.234", ["1.234", "1234"]),
        ("72.000", ["72.000", "72000"]),
        ("1234.567", ["1234.567"]),
        ("0.500", ["0.500"]),
        (".74", ["0.74"]),
        ("AED105.", ["105"]),
        ("CHF 12.-", ["12"]),
        ("12 .50", ["12.50"]),
        ("58.14G", ["58.14"]),
        ("GST 6% 0.75", ["0.75"]),
        ("12BALDUE 37.00", ["37.00"]),
        ("TOTAL-12.50", ["12.50"]),
        ("12.50 12.50", ["12.50"]),
        ("15.00 0.90", None),
        ("1.2.3", None),
        ("TotalDue", None),
        ("6%", None),
    ],
)
def test_amounts(text: str, values: list[str] | None) -> None:
    """Amounts as receipts print them, with all values that they may have."""
    assert read(text) == values


@pytest.mark.parametrize(
    ("text", "value", "mended"),
    [
        ("RM75,O0", "75.00", "RM75,00"),
        ("l2.5O", "12.50", "12.50"),
        ("Rsl,971.00", "1971.00", "Rs1,971.00"),
        ("12.5S", "12.55", "12.55"),
        ("7.50S", "7.50", ""),
        ("S5.00", "5.00", ""),
    ],
)
def test_letters_for_digits(text: str, value: str, mended: str) -> None:
    """Letters that look like digits are taken for them inside an amount, and told; tax codes and a $ are not."""
    found = money(text)
    assert found is not None
    assert ([str(one) for one in found.values], found.repaired) == ([value], mended)


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("RM5.00", "MYR"),
        ("5,00 €", "EUR"),
        ("Rs 5.00", "INR"),
        ("USD 5.00", "USD"),
        ("AU$5.00", "AUD"),
        ("$5.00", None),
    ],
)
def test_currencies(text: str, currency: str | None) -> None:
    """Signs and codes name a currency; a plain $ is the money of many countries."""
    found = money(text)
    assert found is not None
    assert found.currency == currency


@given(
    st.sampled_from(LOCALES),
    st.sampled_from(["", "USD", "EUR", "JPY", "KWD", "INR", "CHF"]),
    st.decimals(-10_000_000, 10_000_000, places=3),
)
def test_amounts_of_all_countries(code: str, currency: str, value: Decimal) -> None:
    """What Babel writes for any country is read as that value, or as one of several, or not at all; never another."""
    locale = Locale.parse(code)
    if currency:
        value = value.quantize(Decimal(1).scaleb(-get_currency_precision(currency)))
    found = money(format_currency(value, currency, locale=locale) if currency else format_decimal(value, locale=locale))
    if found is not None:
        assert value in found.values
        assert MoneyEvidence(currency=currency or None).decide(found, whole_units=bool(currency)) in (value, None)


@given(st.text(alphabet="0123456789.,'-() RM€OlS%x@", max_size=16))
def test_any_text(text: str) -> None:
    """No text breaks the readers, and every value is finite."""
    found = money(text)
    assert found is None or all(value.is_finite() for value in found.values)
    assert quantity(text) is None or quantity(text)


def decide(text: str, *, whole_units: bool = True, **evidence: object) -> str | None:
    found = money(text)
    assert found is not None
    value = MoneyEvidence(**evidence).decide(found, whole_units=whole_units)  # type: ignore[arg-type]
    return None if value is None else str(value)


def test_what_decides() -> None:
    """Other amounts, sums, the digits of the currency, training; else nothing does."""
    assert decide("1.234") is None
    assert decide("1.234", proved=proved_points([money("5.00"), money("7")])) == "1.234"
    assert decide("1.234", proved=proved_points([money("1.234.567")])) == "1234"
    assert decide("1.234", sums=",") == "1234"
    assert decide("1.234", whole=True) == "1234"
    assert decide("RM 1.234") == "1234"
    assert decide("1.234", currency="EUR") == "1234"
    assert decide("1.234", currency="EUR", whole_units=False) is None
    assert decide("1.234", currency="KWD") is None
    assert decide("1.234", learned={".thousands": 40, ".decimal": 1}) == "1234"
    assert decide("1.234", learned={".thousands": 1, ".decimal": 40}) == "1.234"
    assert decide("1.234", learned={",thousands": 40}) is None
    assert decide("1.234", learned=Counter({".thousands": 9})) is None


@pytest.mark.parametrize(
    ("text", "value", "unit", "price"),
    [
        ("2 x", "2", "", None),
        ("x3", "3", "", None),
        ("1.5kg", "1.5", "kg", None),
        ("6EA", "6", "EA", None),
        ("0.44lb@", "0.44", "lb", None),
        ("1x29.98", "1", "", "29.98"),
        ("2@£1.50", "2", "", "1.50"),
        ("(3@10.00)", "3", "", "10.00"),
        ("2.99X1", "1", "", "2.99"),
        ("3EA@0.19/EA", "3", "EA", "0.19"),
    ],
)
def test_quantities(text: str, value: str, unit: str, price: str | None) -> None:
    """Quantities with their unit, and a price that stands with them."""
    found = quantity(text)
    assert found is not None
    assert ([str(one) for one in found.number.values], found.unit) == ([value], unit)
    assert (found.price and [str(one) for one in found.price.values]) == (price and [price])


@pytest.mark.parametrize("text", ["ISEASONAL", "@", "", "5CV+10ANS", "x"])
def test_no_quantity(text: str) -> None:
    """What is no number is no quantity."""
    assert quantity(text) is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("(434)974-1466", ["4349741466"]),
        ("+49(0)941/20908700", ["+4994120908700"]),
        ("TEL=02/512.20.84FAX=02/512.44.82", ["025122084", "025124482"]),
        ("019-2606493/012-2868193", ["0192606493", "0122868193"]),
        ("011-45026500,011-45026800", ["01145026500", "01145026800"]),
        ("01/2182281", ["012182281"]),
        ("N0", []),
    ],
)
def test_phones(text: str, numbers: list[str]) -> None:
    """Digits, with the + if there is one; several numbers are several."""
    assert phones(text) == numbers
