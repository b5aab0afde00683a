"""Numeric accuracy: how many of a document's numbers were read to within half a unit of their last place."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from receipt_trainer.data.amount_checks import minor_unit
from receipt_trainer.data.document import FIELDS
from receipt_trainer.models.paddleocr_vl.scores.fields import TABLE
from receipt_trainer.models.paddleocr_vl.scores.ratio import Share, add_up, one
from receipt_trainer.models.paddleocr_vl.scores.rows import COLUMNS, match_rows, most_rows, row_of
from receipt_trainer.models.paddleocr_vl.scores.values import NUMBERS, at, number, rows_of

PLAIN: Final = frozenset({"quantity", "tax_rate"})
"""Numeric fields that are no amounts of money."""

PLAIN_UNIT: Final = Decimal("0.001")
"""What quantities (kilograms, litres) and rates are read to."""


def minor_unit_of(document: Mapping[str, Any]) -> Decimal:
    """Smallest unit of a document's currency; a hundredth where the currency is not known."""
    return minor_unit(str(document.get("currency") or "").strip().upper())


def score_numbers(gold: Mapping[str, Any], found: Mapping[str, Any] | None) -> dict[str, Share]:
    """`numeric`: of the numbers that the document has, those with |read - true| <= half a unit.

    The unit is the minor unit of the true currency for money and 0.001 for quantities and rates. Rows are paired as for
    the field accuracy; the numbers of a row that is missing are misses. `invented`: of the numeric fields that are null
    in the truth (in the paired rows and the totals), those for which the answer has a number.
    """
    unit = minor_unit_of(gold)
    pairs = [(name, at(gold, name), at(found, name) if found is not None else None) for name in _totals()]
    wanted, got = rows_of(gold), rows_of(found)[: most_rows(gold)] if found is not None else []
    matched = dict(match_rows([row_of(item) for item in wanted], [row_of(item) for item in got]))
    for row, item in enumerate(wanted):
        other = got[matched[row]] if row in matched else {}
        pairs += [(column, item.get(column), other.get(column)) for column in COLUMNS if column in NUMBERS]
    return add_up(_judge(name, number(true), number(read), unit) for name, true, read in pairs)


def _totals() -> list[str]:
    names = [name for region in FIELDS.values() for name in region if name != TABLE]
    return [name for name in names if name.rpartition(".")[2] in NUMBERS]


def _judge(name: str, true: Decimal | None, read: Decimal | None, unit: Decimal) -> dict[str, Share]:
    if true is None:
        return {"invented": one(read is not None)}
    half = (PLAIN_UNIT if name in PLAIN else unit) / 2
    return {"numeric": one(read is not None and abs(read - true) <= half)}
