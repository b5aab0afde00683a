"""Whether the amounts of a receipt add up: true, false, or null where one of them is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from receipt_trainer.data.amount_checks import CASH_STEPS, minor_unit


@dataclass(frozen=True, slots=True)
class Sums:
    """The amounts that are checked; None where one is not known.

    Attributes:
        items: totals of the line items, discounts among them as negative ones; None in it for a row without one.
        taxes: what was read as tax, each amount once; they may stand beside each other (GST and PST).
        extras: other amounts that are printed (service, tip, discount): one of them may explain a difference.
    """

    items: Sequence[Decimal | None]
    subtotal: Decimal | None
    taxes: Sequence[Decimal]
    total: Decimal | None
    currency: str | None = None
    extras: Sequence[Decimal] = ()

    @property
    def cent(self) -> Decimal:
        """Half of the smallest unit: what rounding may cost."""
        return minor_unit(self.currency) / 2

    @property
    def coin(self) -> Decimal:
        """What rounding of a total to coins may cost."""
        return max(self.cent, CASH_STEPS.get(self.currency or "", Decimal(0)) / 2)

    @property
    def items_sum(self) -> Decimal | None:
        """The sum of all rows, if all have a total."""
        known = [one for one in self.items if one is not None]
        return sum(known, Decimal(0)) if known and len(known) == len(self.items) else None

    def parts_of(self, whole: Decimal | None, slack: Decimal) -> bool | None:
        """Whether the items, with the tax or without it, add up to `whole`.

        None also where another amount that is printed makes the difference.
        """
        if whole is None or self.items_sum is None:
            return None
        if any(abs(self.items_sum + tax - whole) <= slack for tax in (*self.taxes, sum(self.taxes)) if tax):
            return True
        return (
            True if abs(self.items_sum - whole) <= slack else None if self._explains(self.items_sum - whole) else False
        )

    def _explains(self, difference: Decimal) -> bool:
        return any(extra and abs(abs(difference) - abs(extra)) <= self.cent for extra in self.extras)

    def with_tax(self) -> tuple[Decimal, ...] | None:
        """The taxes that make the subtotal the total; None if none do."""
        if self.subtotal is None or self.total is None:
            return None
        choices = [(tax,) for tax in self.taxes] + ([tuple(self.taxes)] if len(self.taxes) > 1 else [])
        fitting = (one for one in choices if abs(self.subtotal + sum(one) - (self.total or 0)) <= self.coin)
        return next(fitting, None)


def checks(sums: Sums) -> dict[str, bool | None]:
    """The checks by name.

    - items_sum_to_subtotal, items_sum_to_total: within half a minor unit of the currency, a total within half a coin.
    - subtotal_plus_tax_is_total: null where the prices include the tax, too.
    - tax_included: true where the total is the subtotal, or the items' sum, although there is a tax.
    """
    taxed = bool(sums.taxes) and any(sums.taxes)
    adds = None
    if sums.subtotal is not None and sums.total is not None and sums.taxes:
        left = sums.subtotal + sum(sums.taxes) - sums.total
        adds = True if sums.with_tax() is not None else None if sums._explains(left) else False
    bases = [base for base in (sums.subtotal, sums.items_sum) if base is not None]
    included = None
    if taxed and sums.total is not None and bases:
        same = any(abs(base - sums.total) <= sums.coin for base in bases)
        included = False if adds else True if same else None
    return {
        "items_sum_to_subtotal": sums.parts_of(sums.subtotal, sums.cent),
        "items_sum_to_total": sums.parts_of(sums.total, sums.coin),
        "subtotal_plus_tax_is_total": None if included else adds,
        "tax_included": included,
    }


def failed(found: dict[str, bool | None]) -> list[str]:
    """The checks that speak against what was read; items may add up to the subtotal or to the total."""
    wrong = [] if found["subtotal_plus_tax_is_total"] is not False else ["subtotal_plus_tax_is_total"]
    sums = [found["items_sum_to_subtotal"], found["items_sum_to_total"]]
    if True not in sums and False in sums:
        wrong.append("items_sum_to_subtotal" if sums[0] is False else "items_sum_to_total")
    return wrong
