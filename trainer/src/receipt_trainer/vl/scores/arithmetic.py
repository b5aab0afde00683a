"""Arithmetic validity: do the numbers of a document agree with each other, whatever the truth is?"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from receipt_trainer.vl.scores.numbers import minor_unit_of
from receipt_trainer.vl.scores.share import Share, add_up, one
from receipt_trainer.vl.scores.values import number, rows_of
from receipt_trainer.vl.sums import arithmetic_problems


def score_arithmetic(document: Mapping[str, Any] | None, prefix: str = "arithmetic") -> dict[str, Share]:
    """Shares of sums that hold to within half a minor unit, over those that have all their parts.

    `PREFIX.totals`: subtotal + tax - discount = grand_total; a discount that is null is none, the other three must be
    there. `PREFIX.lines`: quantity * unit_price = total of each line item that has all three. `PREFIX.all`: documents
    in which nothing contradicts, by `sums.arithmetic_problems` (prices may include the tax; lines make the subtotal;
    the tax is its rate). The answer alone is judged: one that is no JSON is not counted, as the totals show.
    """
    if document is None:
        return {}
    half = minor_unit_of(document) / 2
    scores: list[dict[str, Share]] = [{f"{prefix}.all": one(not arithmetic_problems(document))}]
    subtotal, tax, grand_total = (number(document.get(name)) for name in ("subtotal", "tax", "grand_total"))
    if subtotal is not None and tax is not None and grand_total is not None:
        discount = number(document.get("discount")) or Decimal(0)
        scores.append({f"{prefix}.totals": one(abs(subtotal + tax - discount - grand_total) <= half)})
    for item in rows_of(document):
        quantity, price, total = (number(item.get(name)) for name in ("quantity", "unit_price", "total"))
        if quantity is not None and price is not None and total is not None:
            scores.append({f"{prefix}.lines": one(abs(quantity * price - total) <= half)})
    return add_up(scores)
