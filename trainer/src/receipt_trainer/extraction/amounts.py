"""Amounts, quantities and phone numbers as they stand on receipts: every reading a text admits, and what decides."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from receipt_trainer.data.amount_checks import minor_digits
from receipt_trainer.extraction.dates import CLEAR_COUNT, CLEAR_SHARE, flat

Point = Literal[".", ","]
"""A decimal sign."""

_CODES: Final = (
    "AED ARS AUD BDT BGN BHD BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR IQD ISK JOD JPY KES KRW"
    " KWD KZT LKR LYD MAD MXN MYR NGN NOK NPR NZD OMR PEN PHP PKR PLN QAR RON RUB SAR SEK SGD THB TND TRY TWD UAH USD"
    " UYU VND ZAR"
)
_PRINTED: Final = (
    "us$ USD au$ AUD a$ AUD s$ SGD ca$ CAD c$ CAD nz$ NZD hk$ HKD nt$ TWD jp¥ JPY cn¥ CNY mx$ MXN r$ BRL rm MYR rp IDR"
    " rs INR ₹ INR € EUR £ GBP ฿ THB zł PLN zl PLN ₺ TRY tl TRY ₽ RUB руб RUB ₸ KZT 円 JPY 元 CNY ₩ KRW 원 KRW ₫ VND"
    " ₴ UAH ₪ ILS kd KWD dhs AED kč CZK ft HUF ₱ PHP ₦ NGN د.إ AED"
)
_SIGNS: Final = {
    **{code.casefold(): code for code in _CODES.split()},
    **dict(zip(_PRINTED.split()[::2], _PRINTED.split()[1::2], strict=True)),
}
"""A plain $, ¥ or kr is the money of many countries and names none."""

_CURRENCY: Final = re.compile(
    "(?<![^\\W\\d_])("
    + "|".join(re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True))
    + "|[$¥])(?![^\\W\\d_])",
    re.I,
)
_SPACE: Final = " \u00a0\u202f"
_NUMBER: Final = re.compile(
    rf"\d{{1,3}}(?:[{_SPACE}'’]\d{{3}})+(?![\d'’])(?:[.,]\d+)?"
    r"|\d+(?:[.,]\d+)+|\d+\s[.,]\d\d(?![\d.,])|\d+[.,]\s\d\d(?![\d.,])|\d+|(?<![^\W_])(?<![.,])[.,]\d+(?![\d.,])"
)
_HEAD: Final = re.compile(
    "-?(?:" + "|".join(re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True)) + "|[$¥])", re.I
)
_SLIP: Final = str.maketrans("OoQDlI|iSBZ", "00001111582")
_SLIPPED: Final = re.compile(r"[\dOoQDlI|i][\dOoQDlI|iSBZ]*(?:[.,][\dOoQDlI|iSBZ]{3})*[.,][\dOoQDlI|iSBZ]{2}")


@dataclass(frozen=True, slots=True)
class Money:
    """An amount and the values that it may have.

    Attributes:
        readings: by the decimal sign that gives the value; under "" a value that no sign changes.
        currency: ISO 4217, or None where none is printed or the sign is that of many.
        repaired: the text as it was read after letters in it were taken for digits, else "".
    """

    readings: Mapping[Point | Literal[""], Decimal]
    currency: str | None = None
    repaired: str = ""

    @property
    def proves(self) -> Point | None:
        """The decimal sign of the receipt, if this amount has a mark and one reading."""
        signs = [sign for sign in self.readings if sign]
        return signs[0] if len(signs) == 1 else None

    @property
    def values(self) -> list[Decimal]:
        """All readings, the smallest first."""
        return sorted(set(self.readings.values()))


def currency_in(text: str) -> str | None:
    """The one currency that a text names."""
    named = {_SIGNS.get(match[1].casefold()) for match in _CURRENCY.finditer(flat(text))} - {None}
    return named.pop() if len(named) == 1 else None


def money(text: str) -> Money | None:
    """The one amount in a text; None if there is none, or several.

    Percentages do not count, and of several numbers the only one with decimals or beside a currency is meant. Where
    no number can be read so, letters that look like digits are taken for them, and `repaired` says so.
    """
    plain = flat(text)
    slipped = _repair(plain)
    if slipped != plain and (found := _plain_money(slipped)) is not None:
        return Money(found.readings, found.currency, slipped)
    return _plain_money(plain)


def _plain_money(plain: str) -> Money | None:
    matches = [match for match in _NUMBER.finditer(plain) if not re.match(r"\s?%", plain[match.end() :])]
    if len({match[0] for match in matches}) > 1:
        matches = [match for match in matches if re.search(r"[.,]\s?\d", match[0]) or _beside_currency(plain, match)]
    if not matches or len({match[0] for match in matches}) > 1:
        return None
    match = matches[0]
    readings = _readings(match[0])
    if is_negative(plain, match):
        readings = {sign: -value for sign, value in readings.items()}
    return Money(readings, currency_in(plain)) if readings else None


def _beside_currency(text: str, match: re.Match[str]) -> bool:
    before = list(_CURRENCY.finditer(text[: match.start()]))
    after = _CURRENCY.match(text[match.end() :].lstrip())
    return after is not None or any(not text[one.end() : match.start()].strip() for one in before)


def numbers(plain: str) -> list[tuple[re.Match[str], dict[Point | Literal[""], Decimal]]]:
    """The numbers in a text of `flat`, with their values by decimal sign; no values where the marks make no number."""
    return [(match, _readings(match[0])) for match in _NUMBER.finditer(plain)]


def is_negative(plain: str, match: re.Match[str]) -> bool:
    """Whether a minus sign before or behind a number, or brackets around it, make it negative."""
    before, after = plain[: match.start()], plain[match.end() :]
    sign = rf"(?:{_CURRENCY.pattern})?\s?"
    if re.search(rf"(?:^|[\s:])-\s?{sign}$", before, re.I) or re.search(
        rf"(?:^|\s)(?:{_CURRENCY.pattern})\s?-\s?$", before, re.I
    ):
        return True
    if re.match(rf"\s?(?:{_CURRENCY.pattern})?\s?-(?!\d)", after, re.I):
        return True
    return bool(re.search(rf"\(\s?-?{sign}$", before, re.I)) and bool(re.match(rf"\s?{sign}\)", after, re.I))


def _readings(number: str) -> dict[Point | Literal[""], Decimal]:
    """The values of digits with marks, by decimal sign; none if the marks make no number."""
    digits = re.sub(rf"[{_SPACE}'’]", "", number)
    if not re.search("[.,]", digits):
        return {"": Decimal(digits)} if len(digits) <= 15 else {}
    found: dict[Point | Literal[""], Decimal] = {}
    pairs: tuple[tuple[Point, Point], ...] = ((".", ","), (",", "."))
    for sign, other in pairs:
        whole, _, rest = digits.partition(sign)
        groups = whole.split(other)
        sound = len(groups) == 1 or _grouped(groups)
        if sign in rest or other in rest or not sound or (len(groups) > 1 and groups[0] == "0"):
            continue
        if sign not in digits and len(groups) == 1:
            continue
        if len(groups) > 1 and re.search(rf"[{_SPACE}'’]", number):
            continue  # spaces group already
        found[sign] = Decimal(("".join(groups) or "0") + (f".{rest}" if rest else ""))
    return found


def _grouped(groups: list[str]) -> bool:
    """By thousands, or as in India: 12,34,567."""
    sizes = [len(group) for group in groups]
    return sizes[-1] == 3 and (
        (1 <= sizes[0] <= 3 and set(sizes[1:]) == {3}) or (len(sizes) > 2 and sizes[0] <= 2 and set(sizes[1:-1]) == {2})
    )


def _repair(text: str) -> str:
    """Words of digits and letters that look like digits, as digits; others as they are. A first S is a $."""
    parts = []
    for word in re.split(r"(\s+)", text):
        head = _HEAD.match(word)
        start = head.end() if head else 0
        body = word[start:].strip("()-:*")
        wrong = len(re.findall(r"[^\d.,]", body))
        if wrong and 2 * wrong <= len(re.sub(r"[.,]", "", body)) and _SLIPPED.fullmatch(body):
            word = word[:start] + word[start:].translate(_SLIP)
        parts.append(word)
    return "".join(parts)


Marks = Mapping[str, int]
"""How often a mark before the last three digits of an amount was that of decimals, and that of thousands:
".decimal", ".thousands", ",decimal", ",thousands"."""


@dataclass(frozen=True, slots=True)
class MoneyEvidence:
    """What decides between the readings of an amount.

    Attributes:
        proved: how many amounts of the receipt can only be read with this decimal sign.
        sums: the sign with which the receipt's sums hold, if they hold with one alone.
        currency: of the receipt.
        whole: whether amounts without a mark show that this money has no decimals.
        learned: how marks were meant in training where they were clear, as `Marks`.
    """

    proved: Counter[Point] = field(default_factory=Counter)
    sums: Point | None = None
    currency: str | None = None
    whole: bool = False
    learned: Marks | None = None

    def decide(self, amount: Money, *, whole_units: bool = True) -> Decimal | None:
        """The value that is meant, or None if nothing decides.

        Args:
            whole_units: whether the amount has the currency's digits behind the point (prices of a litre have more).
        """
        values = set(amount.readings.values())
        if len(values) == 1:
            return next(iter(values))
        sign = next(iter(self.proved)) if len(self.proved) == 1 else self.sums
        if sign is not None:
            return amount.readings.get(sign)
        currency = amount.currency or self.currency
        if whole_units and (self.whole or (currency is not None and minor_digits(currency) != 3)):
            return max(values, key=abs)  # three digits are no cents
        return self._learned(amount)

    def _learned(self, amount: Money) -> Decimal | None:
        printed: Point = (
            "," if abs(amount.readings.get(".", Decimal(0))) > abs(amount.readings.get(",", Decimal(0))) else "."
        )
        other: Point = "," if printed == "." else "."
        for sign, role, against in ((other, "thousands", "decimal"), (printed, "decimal", "thousands")):
            count = (self.learned or {}).get(f"{printed}{role}", 0)
            total = count + (self.learned or {}).get(f"{printed}{against}", 0)
            if total >= CLEAR_COUNT and count >= CLEAR_SHARE * total:
                return amount.readings.get(sign)
        return None


def proved_points(amounts: Iterable[Money | None]) -> Counter[Point]:
    """How many of these amounts prove which decimal sign."""
    return Counter(amount.proves for amount in amounts if amount is not None and amount.proves is not None)


@dataclass(frozen=True, slots=True)
class Quantity:
    """How many: `number` as `Money` without currency, `unit` as printed or "", `price` where it stands beside."""

    number: Money
    unit: str = ""
    price: Money | None = None


_TIMES: Final = re.compile(r"\s*[x×X*@]\s*|(?<=\d)\s*(?=@)")
_COUNTED: Final = re.compile(r"([\d.,]*\d)\s*([^\W\d_]{1,5}\.?)?")


def quantity(text: str) -> Quantity | None:
    """ "2 x", "x3", "1.5kg", "2 @ 1.50", "1,30 x 2"; None for what is none."""
    plain = flat(text).strip(" ()")
    parts = [part.strip(" ()") for part in _TIMES.split(plain)]
    if len(parts) > 3 or (parts := [part for part in parts if part]) == []:
        return None
    if len(parts) == 2 and (price := money(parts[1])) is not None and (count := _counted(parts[0])) is not None:
        turned = _counted(parts[1])
        if turned is not None and "" in turned.number.readings and "" not in count.number.readings:
            return Quantity(turned.number, turned.unit, money(parts[0]))  # the price first
        return Quantity(count.number, count.unit, price)
    return _counted(parts[0]) if len(parts) == 1 else None


def _counted(text: str) -> Quantity | None:
    match = _COUNTED.fullmatch(text)
    readings = _readings(match[1]) if match else {}
    return Quantity(Money(readings), match[2] or "") if match and readings else None


def phones(text: str) -> list[str]:
    """The phone numbers of a text: their digits, with the + if it is printed."""
    plain = re.sub(r"(?<=\d)\s?\(0\)", "", flat(text))  # +49(0)941: not dialled from abroad
    found = []
    for part in re.split(r"[,;|]|(?<=\d)\s?(?:or|fax|tel)\b", plain, flags=re.I):
        several = [one for one in part.split("/") if len(re.sub(r"\D", "", one)) >= 7]
        for one in several if len(several) == part.count("/") + 1 else [part]:
            digits = re.sub(r"\D", "", one)
            if 6 <= len(digits) <= 15:
                found.append(("+" if re.match(r"\D*\+", one) else "") + digits)
    return found
