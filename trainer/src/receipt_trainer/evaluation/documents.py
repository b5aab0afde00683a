"""Answers become scores: read as JSON, judged by field, number, sum and table, for each document and for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from receipt_trainer.data.amount_checks import arithmetic_problems, as_decimal, minor_unit
from receipt_trainer.data.document import FIELDS, TABLE, at, check, read_strictly, read_tolerantly
from receipt_trainer.errors import UserError
from receipt_trainer.evaluation.answers import Prediction
from receipt_trainer.evaluation.line_items import (
    COLUMNS,
    Row,
    has_too_many_rows,
    match_rows,
    most_rows,
    row_of,
    rows_of,
)
from receipt_trainer.evaluation.ratio import Share, add_up, one
from receipt_trainer.evaluation.teds import score_table
from receipt_trainer.extraction.values import NUMBERS, normal, number


def score_fields(gold: Mapping[str, Any], found: Mapping[str, Any] | None) -> dict[str, Share]:
    """Hits of each field of one document; None for an answer that is no JSON, which misses all.

    `field.NAME`, summed in `field_region.REGION` and `fields`, counts every field; `present.NAME`, summed in
    `present_region.REGION` and `presents`, only those that the document has. A field that is null on both sides is
    a hit of the first and no try of the second. A cell of the table is a try for each row of the longer table: a
    missing row misses its four cells, and so does one too many (of `present` only the missing one). Rows after
    `most_rows` are never hits.
    """
    scores: list[dict[str, Share]] = []
    for region, names in FIELDS.items():
        for name in names:
            parts = _table(gold, found) if name == TABLE else _field(name, gold, found)
            for part, share in parts.items():
                kind = part.partition(".")[0]
                scores.append({part: share, f"{kind}_region.{region}": share, f"{kind}s": share})
    return add_up(scores)


def _field(name: str, gold: Mapping[str, Any], found: Mapping[str, Any] | None) -> dict[str, Share]:
    wanted = normal(name, at(gold, name))
    hit = one(found is not None and wanted == normal(name, at(found, name)))
    return {f"field.{name}": hit} | ({f"present.{name}": hit} if wanted is not None else {})


def _table(gold: Mapping[str, Any], found: Mapping[str, Any] | None) -> dict[str, Share]:
    wanted = [row_of(item) for item in rows_of(gold)]
    items = rows_of(found) if found is not None else []
    got = [row_of(item) for item in items[: most_rows(gold)]]
    num_rows = max(len(wanted), len(items))
    if not num_rows:
        return {}
    pairs = match_rows(wanted, got)
    scores = {}
    for column, name in enumerate(COLUMNS):
        scores[f"field.{TABLE}.{name}"] = Share(_hits(wanted, got, pairs, column), num_rows)
        present = [row for row, cells in enumerate(wanted) if cells[column] is not None]
        kept = [pair for pair in pairs if pair[0] in set(present)]
        if present:
            scores[f"present.{TABLE}.{name}"] = Share(_hits(wanted, got, kept, column), len(present))
    return scores


def _hits(gold: Sequence[Row], found: Sequence[Row], pairs: Sequence[tuple[int, int]], column: int) -> int:
    return sum(gold[a][column] == found[b][column] for a, b in pairs)


PLAIN: Final = frozenset({"quantity", "tax_rate"})
"""Numeric fields that are no amounts of money."""

PLAIN_UNIT: Final = Decimal("0.001")
"""Precision to which quantities (kilograms, litres) and rates are read."""


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
    totals = [name for region in FIELDS.values() for name in region if name.rpartition(".")[2] in NUMBERS]
    pairs = [(name, at(gold, name), at(found, name) if found is not None else None) for name in totals]
    wanted, got = rows_of(gold), rows_of(found)[: most_rows(gold)] if found is not None else []
    matched = dict(match_rows([row_of(item) for item in wanted], [row_of(item) for item in got]))
    for row, item in enumerate(wanted):
        other = got[matched[row]] if row in matched else {}
        pairs += [(column, item.get(column), other.get(column)) for column in COLUMNS if column in NUMBERS]
    return add_up(_judge(name, number(true), number(read), unit) for name, true, read in pairs)


def _judge(name: str, true: Decimal | None, read: Decimal | None, unit: Decimal) -> dict[str, Share]:
    if true is None:
        return {"invented": one(read is not None)}
    half = (PLAIN_UNIT if name in PLAIN else unit) / 2
    return {"numeric": one(read is not None and abs(read - true) <= half)}


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


HEADLINES: Final[Mapping[str, str]] = {
    "fields": "field accuracy",
    "presents": "field accuracy, fields that are there",
    "teds": "TEDS of the line items",
    "numeric": "numeric accuracy",
    "arithmetic.totals": "arithmetic validity of totals",
    "arithmetic.lines": "arithmetic validity of lines",
    "arithmetic.all": "answers whose sums all agree",
    "parse": "answers that are JSON",
    "schema": "answers valid by the schema",
    "tolerant.parse": "answers that hold JSON, read tolerantly",
    "tolerant.fields": "field accuracy, read tolerantly",
}
"""The scores of a complete evaluation, with their display names."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ScoredDocument:
    """A document with its scores. `gold` is the truth; `found` the answer as read strictly, None if it is no JSON."""

    prediction: Prediction
    gold: Mapping[str, Any]
    found: Mapping[str, Any] | None
    scores: Mapping[str, Share]
    teds_is_exact: bool

    @property
    def accuracy(self) -> float:
        """Field accuracy of this document, 0..1."""
        return self.scores["fields"].value or 0.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All documents of a test set, in the order of the predictions."""

    documents: Sequence[ScoredDocument]

    @property
    def scores(self) -> dict[str, Share]:
        """Each score over all documents: hits and totals are summed (micro average); TEDS is the documents' mean."""
        return add_up(document.scores for document in self.documents)

    def worst(self, limit: int) -> list[ScoredDocument]:
        """The documents with the lowest field accuracy that are not perfect, then those with the lowest TEDS."""
        ranked = sorted(self.documents, key=lambda one: (one.accuracy, one.scores["teds"].value or 0.0))
        return [one for one in ranked if one.accuracy != 1.0 or one.scores["teds"].value != 1.0][:limit]


def evaluate(predictions: Iterable[Prediction], progress: Progress | None = None) -> Evaluation:
    """Score predictions; UserError: the truth of a prediction is no JSON object."""
    listed = list(predictions)
    documents = []
    for done, prediction in enumerate(listed, start=1):
        documents.append(score_document(prediction))
        if progress is not None:
            progress(done, len(listed))
    return Evaluation(documents)


def score_document(prediction: Prediction) -> ScoredDocument:
    """Score one prediction. All scores but `tolerant.*` are of the strict reading of the answer."""
    gold = read_strictly(prediction.gold)
    if gold is None:
        raise UserError(
            f"prediction of {prediction.id!r}: its gold text is not a JSON object; write the predictions again"
        )
    found = read_strictly(prediction.text)
    tolerant = found if found is not None else read_tolerantly(prediction.text)
    table = score_table(gold, found)
    scores = {
        "parse": one(found is not None),
        "schema": one(found is not None and not has_too_many_rows(gold, found) and not check(found)),
        "teds": Share(table.value, 1.0),
        "tolerant.parse": one(tolerant is not None),
        "tolerant.fields": score_fields(gold, tolerant)["fields"],
    }
    scores |= score_fields(gold, found) | score_numbers(gold, found)
    scores |= score_arithmetic(gold, found) | score_arithmetic(gold, gold, "gold_arithmetic")
    return ScoredDocument(prediction, gold, found, scores, table.exact)
