"""What documents say: it adds up, in every country, and it is written as people there do."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from random import Random

import pytest
from babel.dates import format_date
from babel.numbers import get_currency_precision
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.data.amount_checks import CASH_STEPS, arithmetic_problems, minor_digits
from receipt_trainer.data.document import check
from receipt_trainer.data.synthetic.layout import TEMPLATES
from receipt_trainer.data.synthetic.locales import cldr, currencies, languages, locales
from receipt_trainer.data.synthetic.page import PlainFamily
from receipt_trainer.data.synthetic.purchase import draw_document
from receipt_trainer.data.synthetic.wording import choose_words, written

SEEDS = st.integers(0, 10**9)
COUNTRIES = st.sampled_from(list(locales().values()))
HABITS = st.sampled_from([template.habit for template in TEMPLATES.values()])


@given(SEEDS, COUNTRIES, HABITS, st.booleans())
@settings(deadline=None, max_examples=300)
def test_documents_add_up(seed: int, country: object, habit: object, truthful: bool) -> None:
    """Quantity times price is a line's total; lines, discounts, service, taxes and rounding make the grand total."""
    document = draw_document(Random(seed), country, habit, truthful=truthful)  # type: ignore[arg-type]
    totals, terms = document.totals, document.terms
    unit = Decimal(1).scaleb(-get_currency_precision(document.currency))
    whole = sum(item.total for item in document.items)
    for item in document.items:
        if item.unit_price is not None and item.quantity is not None:
            assert abs(item.quantity * item.unit_price - item.total) <= unit / 2
    added = Decimal(0) if terms.inside else totals.tax
    assert totals.grand_total == whole - totals.discount + totals.service + added + totals.rounding
    assert totals.subtotal in (whole, whole - totals.tax)
    assert totals.grand_total > 0
    assert totals.grand_total % (CASH_STEPS[document.currency] if terms.to_coins else unit) == 0
    for tax in totals.taxes:
        assert abs(tax.amount - tax.net * tax.rate / 100) <= unit


@given(SEEDS, COUNTRIES, HABITS)
@settings(deadline=None, max_examples=200)
def test_every_truth_fits_the_schema_and_adds_up(seed: int, country: object, habit: object) -> None:
    """By construction, in every template, country and currency; also when lines are left out to fit a page."""
    document = draw_document(Random(seed), country, habit)  # type: ignore[arg-type]
    for shown in (document, document.shortened(1)):
        truth = shown.truth()
        assert check(truth) == []
        assert arithmetic_problems(truth) == []


def test_a_truth_that_does_not_add_up_is_an_error() -> None:
    """What the form has no words for is not written as if nothing were: a service charge."""
    habit = TEMPLATES["bistro"].habit
    document = draw_document(Random(1), locales()["en_US"], habit)
    terms = replace(document.terms, service=Decimal(10), inside=False, subtotal_shown=True)
    with pytest.raises(RuntimeError, match="grand_total"):
        replace(document, terms=terms).truth()


def test_the_countries_are_complete() -> None:
    """Every language has the same words; every country's language, currencies, price scales and digits are known."""
    keys = set(languages()["en"].words)
    assert all(set(language.words) == keys for language in languages().values())
    assert len(languages()) == 12
    for country in locales().values():
        assert {"grocery", "services"} <= set(country.language.shops)
        for currency, _ in country.currencies:
            assert currency in currencies()
            assert minor_digits(currency) == get_currency_precision(currency)


@pytest.mark.parametrize(
    ("country", "currency", "amount", "wanted"),
    [
        ("de_DE", "EUR", "1234.5", {"1.234,50 €", "1.234,50€", "1.234,50 EUR", "EUR 1.234,50"}),
        ("en_US", "USD", "-1234567.89", {"-$1,234,567.89", "-$ 1,234,567.89", "-1,234,567.89 USD"}),
        ("en_IN", "INR", "1234567", {"₹12,34,567.00", "₹ 12,34,567.00", "12,34,567.00 INR"}),
        ("ja_JP", "JPY", "1234", {"¥1,234", "¥ 1,234", "1,234 JPY"}),
        ("en_US", "KWD", "1.5", {"KWD 1.500", "1.500 KWD"}),
        ("fr_FR", "EUR", "1234.5", {"1\u00a0234,50 €", "1\u00a0234,50€", "1\u00a0234,50 EUR", "EUR 1\u00a0234,50"}),
    ],
)
def test_amounts_are_written_as_people_do(country: str, currency: str, amount: str, wanted: set[str]) -> None:
    """The currency's digits, the country's separators, the sign before or after."""
    locale = locales()[country]
    document = draw_document(Random(0), locale, TEMPLATES["classic"].habit)
    document = replace(document, currency=currency, vendor=replace(document.vendor, address=("here",)))
    found = set()
    for seed in range(60):
        wording = choose_words(Random(seed), document, locale, PlainFamily("mono"))
        if wording.grouped and wording.numbers == locale.cldr:
            found.add(wording.amount(Decimal(amount)))
    assert found == wanted


def test_a_sign_that_several_countries_share_needs_an_address() -> None:
    """Without one a dollar may be anybody's: its code is written."""
    locale = locales()["en_AU"]
    document = draw_document(Random(0), locale, TEMPLATES["classic"].habit)
    document = replace(document, vendor=replace(document.vendor, address=()))
    for seed in range(20):
        assert "AUD" in choose_words(Random(seed), document, locale, PlainFamily("mono")).total_marks


@pytest.mark.parametrize(
    ("country", "texts"),
    [
        ("de_DE", {"05.03.2024", "05.03.24", "5. März 2024"}),
        ("es_ES", {"05/03/2024", "5 de marzo de 2024"}),
        ("pl_PL", {"05.03.2024", "2024-03-05"}),
        ("ru_RU", {"05.03.2024", "5 марта 2024 г."}),
        ("ja_JP", {"2024年3月5日", "2024/03/05", "2024-03-05"}),
        ("en_US", {"03/05/2024", "03/05/24", "3/5/2024", "Mar 5, 2024", "03-05-2024", "2024-03-05", "March 5, 2024"}),
    ],
)
def test_dates_are_written_in_the_language(country: str, texts: set[str]) -> None:
    """Months by name, days with and without a leading zero."""
    locale = locales()[country]
    assert {format_date(date(2024, 3, 5), form, locale.cldr) for form in locale.dates.split("|")} == texts


def test_quantities_have_the_digits_of_a_scale() -> None:
    """What is weighed has three decimals, what is counted none."""
    assert written(Decimal("0.5"), 3, cldr("de_DE"), False) == "0,500"
    locale = locales()["de_DE"]
    document = draw_document(Random(0), locale, TEMPLATES["classic"].habit)
    wording = choose_words(Random(0), document, locale, PlainFamily("mono"))
    item = replace(document.items[0], quantity=Decimal("12.0"), measure="")
    assert wording.cells(item)["quantity"] == "12"
    assert wording.cells(replace(item, quantity=Decimal("1.25"), measure="kg"))["quantity"] == "1,250"


def test_due_dates_follow_dates() -> None:
    """A document with a due date has it after its own."""
    for seed in range(50):
        document = draw_document(Random(seed), locales()["en_GB"], TEMPLATES["classic"].habit)
        assert isinstance(document.moment, datetime)
        if document.due_days is not None and document.day_shown:
            truth = document.truth()
            assert truth["due_date"] > truth["date"]
