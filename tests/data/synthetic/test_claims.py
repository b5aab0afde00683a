"""What a page claims is recomputed from the words that stand on it, by arithmetic of this file alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from itertools import groupby
from random import Random

import pytest
from babel.dates import format_date

from receipt_trainer.data.amount_checks import minor_unit
from receipt_trainer.data.receipt import Word
from receipt_trainer.data.synthetic.layout import LaidOut, lay_out
from receipt_trainer.data.synthetic.locales import Locale, cldr, languages, locales
from receipt_trainer.data.synthetic.page import PlainFamily
from receipt_trainer.data.synthetic.words import Damage, read_page
from tests.data.synthetic.drawn import ALL

FAMILIES = (PlainFamily("mono"), PlainFamily("sans", typewriter=False))
PAGES = 10


@dataclass
class Line:
    """A printed line: the words of each label joined; what has none is `name`."""

    name: str
    values: dict[str, str]
    rate: str


class PageReader:
    """The claims of one page, read from its words with boxes."""

    def __init__(self, one: LaidOut, locale: Locale) -> None:
        self.one, self.locale, self.words = one, locale, locale.language.words
        self.unit = minor_unit(one.document.currency)
        words, _, _ = read_page(one.page, Random(0), Damage())
        rows = [list(line) for _, line in groupby(words, key=lambda word: word.line)]
        self.lines = [self._line(row) for row in rows]
        self.text = "\n".join(" ".join(word.text for word in row) for row in rows)

    def _line(self, words: list[Word]) -> Line:
        values: dict[str, str] = {}
        for label, run in groupby(words, key=lambda word: word.valid_label() or ""):
            values[label] = f"{values.get(label, '')} {' '.join(word.text for word in run)}".strip()
        name = values.pop("", "")
        rate = re.search(r"(\d[\d.,]*)%", name)
        return Line(name, values, rate[1].replace(",", ".") if rate else "")

    def amount(self, text: str) -> Decimal:
        """An amount in a form of the country: its separators, and as many decimals as its currency has."""
        digits = -int(self.unit.as_tuple().exponent)
        for code in (self.locale.numbers or self.locale.code).split("|"):
            symbols = cldr(code).number_symbols["latn"]
            group = "[\u00a0\u202f]" if symbols["group"] in "\u00a0\u202f" else re.escape(symbols["group"])
            decimals = re.escape(symbols["decimal"]) + rf"\d{{{digits}}}" if digits else ""
            if found := re.search(rf"(?<![\d.,])(\d{{1,3}}(?:{group}\d{{2,3}})+|\d+){decimals}(?![\d.,])", text):
                number = Decimal(re.sub(r"\D", "", found[0])).scaleb(-digits)
                return -number if "-" in text[: found.start()] else number
        raise AssertionError(f"{text!r} is no amount of {self.locale.code} in {self.one.document.currency}")

    def amounts(self, label: str) -> list[Decimal]:
        return [self.amount(line.values[label]) for line in self.lines if label in line.values]

    def place(self, label: str) -> int:
        """Of the first line with it; behind the page where there is none."""
        return next((n for n, line in enumerate(self.lines) if label in line.values), len(self.lines))

    def says(self, name: str, key: str) -> bool:
        """Whether a name is one of the language's for it."""
        bare = re.sub(r"[ \d.,:%-]+$", "", name).casefold()
        return bare in {re.sub(r"[ .:]+$", "", word).casefold() for word in self.words[key].split("|")}

    def name_of(self, place: int) -> str:
        """Before the value, or on the line above it where the two did not fit side by side."""
        return self.lines[place].name or self.lines[place - 1].name

    def between(self, first: int, last: int, key: str) -> Decimal:
        """Sum of the amounts behind such a name on lines without a label."""
        found = Decimal(0)
        for line in self.lines[first:last]:
            parts = re.fullmatch(r"(.*?) (-?[^\d\s-]{0,3} ?\d[^ ]*(?: [^\d\s]{1,3})?)", line.name)
            if parts and not line.values and self.says(parts[1], key):
                found += self.amount(parts[2])
        return found


@cache
def pages(code: str) -> tuple[PageReader, ...]:
    locale = locales()[code]
    found = []
    for index in range(PAGES):
        rng = Random(f"claims:{code}:{index}")
        found.append(PageReader(lay_out(rng, ALL, [(locale, FAMILIES)], truthful=True), locale))
    return tuple(found)


def rounded(amount: Decimal, unit: Decimal) -> Decimal:
    return amount.quantize(unit, ROUND_HALF_UP)


def savings(page: PageReader) -> Decimal:
    """What was taken off lines, and off all of them where there is no subtotal: it stands there without a label."""
    last = min(page.place(label) for label in ("SUBTOTAL", "GRAND_TOTAL"))
    names = "|".join(re.escape(word) for word in page.words["discount"].split("|"))
    found = Decimal(0)
    for line in page.lines[page.place("LINE_TOTAL") : last]:
        behind = re.search(rf"^(?:\d+ )?(?:{names})(?: \d+ %)? ?[:.]? (-.*)$", line.name, re.IGNORECASE)
        found += page.amount(behind[1]) if behind else 0
    return found


@pytest.mark.parametrize("code", locales())
def test_totals_follow_from_what_is_printed(code: str) -> None:
    """Lines, subtotal under its name, taxes at their rates, discount, rounding and grand total; and so says the truth.

    A name that says "net" is over an amount to which the taxes are added; any other subtotal is the sum of the lines.
    """
    for page in pages(code):
        truth = page.one.truth
        lines = sum(page.amounts("LINE_TOTAL")) + savings(page)
        end, sub = page.place("GRAND_TOTAL"), page.place("SUBTOTAL")
        (total,) = set(page.amounts("GRAND_TOTAL"))
        subtotal = page.amounts("SUBTOTAL")[0] if sub < end else None
        discount = -page.between(sub + 1, end, "discount")
        rounding = page.between(sub + 1 if sub < end else page.place("LINE_TOTAL"), end, "rounding")
        taxes = page.amounts("TAX")
        on_top = bool(taxes) and page.place("TAX") < end
        added = sum(taxes) if on_top else Decimal(0)
        if subtotal is None:
            assert lines + added + rounding == total, page.text
        else:
            net = page.says(page.name_of(sub), "net")
            assert net != page.says(page.name_of(sub), "subtotal"), page.name_of(sub)
            assert subtotal - discount + added + rounding == total, page.text
            assert not net or (taxes and on_top and not discount), page.text
            assert subtotal == lines or (net and subtotal + added == lines), page.text
        check_rates(page, taxes, lines if subtotal is None else subtotal - discount, on_top=on_top)
        assert truth["grand_total"] == float(total)
        assert truth["subtotal"] == (None if subtotal is None else float(subtotal))
        assert truth["tax"] == (float(sum(taxes)) if taxes else None)
        assert subtotal is None or truth["discount"] == (float(discount) if discount else None)


def check_rates(page: PageReader, taxes: list[Decimal], base: Decimal, *, on_top: bool) -> None:
    """Each printed rate is one of the country's, and one rate gives the printed tax; the truth says it if it is one."""
    rates = [line.rate for line in page.lines if "TAX" in line.values and line.rate]
    known = {rate for _, pool in page.locale.taxes for rate in pool.split("|")} | {"0"}
    assert set(rates) <= known, page.text
    assert page.one.truth["tax_rate"] == (float(rates[0]) if len(rates) == 1 == len(taxes) else None)
    if len(rates) == 1 == len(taxes) and page.one.document.currency not in ("IDR",):
        rate = Decimal(rates[0])
        found = base * rate / (100 if on_top else 100 + rate)
        assert abs(found - taxes[0]) <= page.unit, page.text


def test_numbers_that_are_no_answer_stand_on_pages() -> None:
    """Cash, change, points, banks, references, days of delivery, tables of several taxes; no truth has them."""
    found: Counter[str] = Counter()
    for page in (page for code in locales() for page in pages(code)):
        said = json.dumps(page.one.truth, ensure_ascii=False)
        for key in ("cash", "change", "points", "reference", "delivery"):
            names = [
                line.name for line in page.lines if any(line.name.startswith(n) for n in page.words[key].split("|"))
            ]
            found[key] += len(names)
            assert key != "reference" or not any(name.split()[-1] in said for name in names)
        banks = [bank for bank in page.locale.bank.split("|") if re.search(pattern_of(bank), page.text)]
        found["bank"] += len(banks)
        assert not any(re.search(pattern_of(bank), said) for bank in banks)
        taxes = [line for line in page.lines if "TAX" in line.values]
        found["several rates"] += len(taxes) > 1 and page.one.truth["tax_rate"] is None
        for line in taxes:
            behind = line.name.rpartition("%")[2]
            if line.rate and re.search(r"\d", behind):
                found["net of a rate"] += 1
                net = page.amount(behind)
                assert abs(net * Decimal(line.rate) / 100 - page.amount(line.values["TAX"])) <= page.unit, page.text
    assert all(found[key] >= 5 for key in ("cash", "change", "points", "reference", "delivery", "bank")), found
    assert found["several rates"] >= 10, found
    assert found["net of a rate"] >= 10, found


@pytest.mark.parametrize("code", locales())
def test_payment_terms_agree_with_the_due_date(code: str) -> None:
    """Printed days from the printed date are the printed due date; without one no days are printed."""
    language = locales()[code].language
    patterns = [re.escape(text).replace(r"\{\}", r"(\d+)") for text in language.words["terms"].split("|")]
    with_days = [pattern for pattern in patterns if r"(\d+)" in pattern]
    assert with_days
    assert len(with_days) < len(patterns)
    for page in pages(code):
        truth = page.one.truth
        days = [int(found[1]) for pattern in with_days if (found := re.search(pattern, page.text))]
        assert not days or truth["due_date"], page.text
        if days and truth["date"]:
            printed = next(line.values["DATE"] for line in page.lines if "DATE" in line.values)
            day = date.fromisoformat(truth["date"])
            due = day + timedelta(days[0])
            forms = [
                form for form in page.locale.dates.split("|") if format_date(day, form, page.locale.cldr) == printed
            ]
            assert forms, printed
            assert any(format_date(due, form, page.locale.cldr) in page.text for form in forms), page.text
            assert truth["due_date"] == due.isoformat()


@pytest.mark.parametrize("code", locales())
def test_tax_numbers_are_those_of_the_country(code: str) -> None:
    """The vendor's and the client's have a form of the country, under the name that it has there."""
    for page in pages(code):
        for party in (page.one.truth["vendor"], page.one.truth["client"] or {}):
            number = party.get("tax_id")
            if number is None:
                continue
            names = [
                names for names, patterns in page.locale.tax_ids if any(fits(number, p) for p in patterns.split("|"))
            ]
            assert names, number
            line = next(line for line in page.text.splitlines() if number in line)
            before = line[: line.index(number)].rstrip(" :.(").casefold()
            known = [name.rstrip(".").casefold() for pool in names for name in pool.split("|")]
            assert line.startswith("(") or any(before.endswith(name) for name in known) or f"({number})" in line, line


def fits(number: str, pattern: str) -> bool:
    return bool(re.fullmatch(pattern_of(pattern), number))


def pattern_of(form: str) -> str:
    """A form of `locales.toml` as a regular expression."""
    return re.escape(form).replace(r"\#", r"\d").replace(r"\?", "[A-Z]")


@pytest.mark.parametrize("code", locales())
def test_vendors_sell_what_they_sell(code: str) -> None:
    """The firm is called as those of its kind are, its lines are goods of that kind; what has a size is not weighed."""
    language = locales()[code].language
    for page in pages(code):
        document = page.one.document
        shop = language.shops[document.shop]
        firms = [re.escape(firm).replace(r"\{a\}", ".+").replace(r"\{b\}", ".+") for firm in shop.firms.split("|")]
        assert any(re.search(firm, document.vendor.name) for firm in firms)
        nouns = shop.nouns.split("|")
        for item in document.items:
            assert item.total < 0 or any(noun.rstrip("*") in item.description for noun in nouns)
            if item.measure == "kg":
                assert any(noun[:-1] in item.description for noun in nouns if noun.endswith("*"))
                assert not any(item.description.endswith(f" {size}") for size in shop.sizes.split("|") if size)


def test_a_net_name_is_no_other_name() -> None:
    """In no language a name of net amounts may stand for a sum with tax."""
    for language in languages().values():
        others = {name for key in ("subtotal", "total", "total_again") for name in language.words[key].split("|")}
        assert not {name.casefold() for name in others} & {
            name.casefold() for name in language.words["net"].split("|")
        }, language.code
