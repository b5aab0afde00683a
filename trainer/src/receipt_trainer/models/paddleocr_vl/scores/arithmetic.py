"""Arithmetic validity: do the numbers of an answer agree with each other, wherever those of the document could?"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from receipt_trainer.data.amount_checks import arithmetic_problems, as_decimal
from receipt_trainer.models.paddleocr_vl.scores.numbers import minor_unit_of
from receipt_trainer.models.paddleocr_vl.scores.ratio import Share, add_up, one
from receipt_trainer.models.paddleocr_vl.scores.rows import match_rows, most_rows, row_of
from receipt_trainer.models.paddleocr_vl.scores.values import number, rows_of

_TOTALS: Final = ("subtotal", "tax", "grand_total")
_LINE: Final = ("quantity", "unit_price", "total")
_AMOUNTS: Final = (*_TOTALS, "tax_rate", "discount")


def score_arithmetic(
    gold: Mapping[str, Any], found: Mapping[str, Any] | None, prefix: str = "arithmetic"
) -> dict[str, Share]:
    """Shares of sums that hold in the answer, of those that have all their parts in the truth.

    The truth only says where there is a sum, so leaving numbers out is no way around one; the numbers are the answer's.
    `PREFIX.totals`: subtotal + tax - discount = grand_total, where the truth has these (a discount that is null is
    none). `PREFIX.lines`: quantity * unit_price = total of the row that stands for each line item of the truth with all
    three. Both hold to within half a minor unit of the true currency. `PREFIX.all`: answers that have every amount
    that the truth has, as JSON numbers, and in which nothing contradicts by `sums.arithmetic_problems` (prices may
    include the tax; lines make the subtotal; the tax is its rate), of truths with any sum. An answer that is no JSON
    has no sum that holds.
    """
    answer = found if found is not None else {}
    half = minor_unit_of(gold) / 2
    scores = [_lines(gold, answer, half, prefix)]
    if all(number(gold.get(name)) is not None for name in _TOTALS):
        scores.append({f"{prefix}.totals": one(_totals_hold(answer, half))})
    if _has_sums(gold):
        judged = {**answer, "currency": gold.get("currency")}
        scores.append({f"{prefix}.all": one(_has_the_parts(gold, answer) and not arithmetic_problems(judged))})
    return add_up(scores)


def _totals_hold(answer: Mapping[str, Any], half: Decimal) -> bool:
    subtotal, tax, grand_total = (number(answer.get(name)) for name in _TOTALS)
    if subtotal is None or tax is None or grand_total is None:
        return False
    return abs(subtotal + tax - (number(answer.get("discount")) or Decimal(0)) - grand_total) <= half


def _lines(gold: Mapping[str, Any], answer: Mapping[str, Any], half: Decimal, prefix: str) -> dict[str, Share]:
    wanted, got = rows_of(gold), rows_of(answer)[: most_rows(gold)]
    tried = [at for at, item in enumerate(wanted) if all(number(item.get(name)) is not None for name in _LINE)]
    if not tried:
        return {}
    pairs = dict(match_rows([row_of(item) for item in wanted], [row_of(item) for item in got]))
    hits = sum(at in pairs and _line_holds(got[pairs[at]], half) for at in tried)
    return {f"{prefix}.lines": Share(float(hits), float(len(tried)))}


def _line_holds(item: Mapping[str, Any], half: Decimal) -> bool:
    quantity, price, total = (number(item.get(name)) for name in _LINE)
    return quantity is not None and price is not None and total is not None and abs(quantity * price - total) <= half


def _count(rows: list[Mapping[str, Any]], names: tuple[str, ...]) -> int:
    """Rows that have all of these as JSON numbers."""
    return sum(all(as_decimal(row.get(name)) is not None for name in names) for row in rows)


def _has_sums(gold: Mapping[str, Any]) -> bool:
    rows = rows_of(gold)
    sides = _count([gold], ("subtotal",)) + _count([gold], ("grand_total",)) + bool(_count(rows, ("total",)))
    return sides > 1 or _count(rows, _LINE) > 0


def _has_the_parts(gold: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    rows = rows_of(gold), rows_of(answer)
    asked = [name for name in _AMOUNTS if as_decimal(gold.get(name)) is not None]
    return all(as_decimal(answer.get(name)) is not None for name in asked) and all(
        _count(rows[1], names) >= _count(rows[0], names) for names in (("total",), _LINE)
    )
