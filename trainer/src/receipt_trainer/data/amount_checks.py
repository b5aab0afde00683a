"""Whether the amounts of a document add up, in decimal arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

_MINOR_DIGITS: Final = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV"), 0),
    **dict.fromkeys(("XAF", "XOF", "XPF", "IDR"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
"""Digits behind the point where they are not two (ISO 4217; rupiahs have sen on paper only, CLDR gives them none)."""

CASH_STEPS: Final = {
    "CHF": Decimal("0.05"),
    "MYR": Decimal("0.05"),
    "AUD": Decimal("0.05"),
    "CAD": Decimal("0.05"),
    "NZD": Decimal("0.10"),
    "SGD": Decimal("0.05"),
    "IDR": Decimal(100),
}
"""Smallest coins: what is paid may be rounded to them while the parts are not."""


def minor_digits(currency: str | None) -> int:
    """Digits of an amount behind the point; two where the currency is not known."""
    return _MINOR_DIGITS.get(currency or "", 2)


def minor_unit(currency: str | None) -> Decimal:
    """The smallest amount: 0.01 for EUR, 1 for JPY."""
    return Decimal(1).scaleb(-minor_digits(currency))


def arithmetic_problems(document: Mapping[str, Any]) -> list[str]:
    """Sums that do not hold, each as "path: reason"; where a total is not a number, only the lines are looked at.

    - A line: quantity x unit price is its total, within one minor unit of the currency.
    - The lines add up to the subtotal; without one, to what the grand total makes it.
    - subtotal + tax - discount is the grand total; or subtotal - discount, where the prices include the tax.
    - The tax is its rate of the amount it is on, within one minor unit for each line (some round by line).

    Sums tolerate half a minor unit, a grand total half of the currency's smallest coin.
    """
    return [f"{path}: {reason}" for path, reason in sum_problems(document)]


def sum_problems(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """As `arithmetic_problems`, in pairs (path, reason)."""
    currency = document.get("currency")
    currency = currency if isinstance(currency, str) else None
    unit = minor_unit(currency)
    given = document.get("line_items")
    items = [item for item in given if isinstance(item, Mapping)] if isinstance(given, list) else []
    found = _line_problems(items, unit)
    totals = {key: as_decimal(document.get(key)) for key in ("subtotal", "tax", "tax_rate", "discount", "grand_total")}
    if any(value is None and document.get(key) is not None for key, value in totals.items()):
        return found  # a total that cannot be read says nothing about the others
    lines = [as_decimal(item.get("total")) for item in items]
    known = [total for total in lines if total is not None]
    whole = sum(known, Decimal(0)) if known and len(known) == len(lines) else None
    coin = CASH_STEPS.get(currency or "", Decimal(0)) / 2
    found += _total_problems(totals, whole, unit / 2, coin)
    return found + _rate_problems(totals, whole, unit * max(1, len(lines)))


def as_decimal(value: Any) -> Decimal | None:
    """A finite JSON number, exactly as it is written; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, int) and value.bit_length() > 200:
        return None
    number = Decimal(str(value))
    return number if number.is_finite() and abs(number.adjusted()) < 60 else None


def _line_problems(items: list[Mapping[str, Any]], unit: Decimal) -> list[tuple[str, str]]:
    found = []
    for index, item in enumerate(items):
        quantity, price, total = (as_decimal(item.get(key)) for key in ("quantity", "unit_price", "total"))
        if quantity is None or price is None or total is None:
            continue
        if abs(quantity * price - total) > unit:
            found.append((f"line_items[{index}].total", f"{quantity} x {price} is {quantity * price}, not {total}"))
    return found


def _total_problems(
    totals: Mapping[str, Decimal | None], whole: Decimal | None, slack: Decimal, coin: Decimal
) -> list[tuple[str, str]]:
    subtotal, grand = totals["subtotal"], totals["grand_total"]
    tax, discount = totals["tax"] or Decimal(0), totals["discount"] or Decimal(0)
    found = []
    if (
        subtotal is not None
        and whole is not None
        and all(abs(whole - reading) > slack for reading in (subtotal, subtotal + tax))
    ):
        found.append(("subtotal", f"the lines add up to {whole}, not {subtotal}"))
    if grand is None:
        return found
    base, what = (subtotal, "subtotal") if subtotal is not None else (whole, "the lines")
    if base is not None and all(abs(base + t - discount - grand) > max(slack, coin) for t in (tax, Decimal(0))):
        found.append(("grand_total", f"{what} {base} + tax {tax} - discount {discount} is not {grand}"))
    return found


def _rate_problems(
    totals: Mapping[str, Decimal | None], whole: Decimal | None, slack: Decimal
) -> list[tuple[str, str]]:
    """The tax may be on the subtotal with or without the discount, or inside the grand total."""
    tax, rate, grand = totals["tax"], totals["tax_rate"], totals["grand_total"]
    base = totals["subtotal"] if totals["subtotal"] is not None else whole
    discount = totals["discount"] or Decimal(0)
    if tax is None or rate is None:
        return []
    readings = [] if base is None else [base * rate / 100, (base - discount) * rate / 100]
    if rate != -100 and base is not None:
        readings.append((base - discount) * rate / (100 + rate))
    if rate != -100 and grand is not None:
        readings.append(grand * rate / (100 + rate))
    if not readings or any(abs(reading - tax) <= slack for reading in readings):
        return []
    return [("tax", f"{tax} is not {rate} % of {base if base is not None else grand}")]
