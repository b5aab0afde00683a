"""Field accuracy: how many fields hold what the document says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receipt_trainer.data.document import FIELDS
from receipt_trainer.models.paddleocr_vl.scores.ratio import Share, add_up, one
from receipt_trainer.models.paddleocr_vl.scores.rows import COLUMNS, Row, match_rows, most_rows, row_of
from receipt_trainer.models.paddleocr_vl.scores.values import at, normal, rows_of

TABLE = "line_items"


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
