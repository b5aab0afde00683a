"""Currencies, and how amounts, quantities and dates are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from receipt_trainer.data.amount_checks import CASH_STEPS, minor_digits, minor_unit
from receipt_trainer.models.paddleocr_vl.synthetic.language import Language

SYMBOLS: Final = {
    **{"USD": "$", "GBP": "£", "EUR": "€", "INR": "₹", "JPY": "¥", "PLN": "zł", "TRY": "₺", "RUB": "₽", "CNY": "¥"},
    **{"KZT": "₸"},
}
"""Signs that stand for one currency in the languages that use them here; others are written by their code."""

SCALES: Final[dict[str, str]] = {
    **{"JPY": "150", "INR": "80", "RUB": "90", "KZT": "450", "TRY": "35", "MXN": "18", "CNY": "7", "PLN": "4"},
    "KWD": "0.3",
}
"""What costs a dollar costs about this much."""


@dataclass(frozen=True, slots=True)
class Money:
    """Writes the amounts of one document.

    Attributes:
        currency: ISO 4217.
        sign: the mark or code that is written; "" for none at all.
        point, thousands: decimal sign, separator of thousands.
        first: whether the sign stands first; `space` between it and the number.
    """

    currency: str
    sign: str
    point: str
    thousands: str
    first: bool
    space: str

    def plain(self, amount: Decimal) -> str:
        """Without the sign: "1.234,50"."""
        return written(amount, minor_digits(self.currency), self.point, self.thousands)

    def signed(self, amount: Decimal) -> str:
        """With the sign: "-$2.00"."""
        if not self.sign:
            return self.plain(amount)
        space = self.space or (" " if self.sign.isalpha() and self.sign.isascii() else "")
        number = self.plain(abs(amount))
        text = f"{self.sign}{space}{number}" if self.first else f"{number}{space}{self.sign}"
        return f"-{text}" if amount < 0 else text


def written(number: Decimal, digits: int, point: str, thousands: str) -> str:
    """A number with that many digits behind the decimal sign."""
    whole, _, rest = f"{abs(number):,.{digits}f}".partition(".")
    text = whole.replace(",", thousands) + (point + rest if rest else "")
    return f"-{text}" if number < 0 else text


def quantity_text(quantity: Decimal, language: Language) -> str:
    """A quantity or rate with the digits that it has."""
    return f"{quantity.normalize():f}".replace(".", language.point)


def rounded(amount: Decimal, currency: str) -> Decimal:
    """To the minor unit, halves away from zero."""
    return amount.quantize(minor_unit(currency), ROUND_HALF_UP)


def to_coins(amount: Decimal, currency: str) -> Decimal:
    """To the smallest coin."""
    step = CASH_STEPS[currency]
    return (amount / step).quantize(Decimal(1), ROUND_HALF_UP) * step


def date_text(day: date, form: str, language: Language) -> str:
    """A date in a form of `Language.dates`."""
    month = language.months.split("|")[day.month - 1]
    parts = {"%d": f"{day.day:02d}", "%-d": str(day.day), "%m": f"{day.month:02d}", "%-m": str(day.month)}
    parts |= {"%Y": str(day.year), "%B": month, "%b": month[:3]}
    for mark in sorted(parts, key=len, reverse=True):
        form = form.replace(mark, parts[mark])
    return form
