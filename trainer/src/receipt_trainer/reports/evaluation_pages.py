"""Evaluations and comparisons of document readers: their pages and files."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from receipt_trainer.data.document import FIELDS
from receipt_trainer.errors import UserError
from receipt_trainer.evaluation.compare import Comparison
from receipt_trainer.evaluation.documents import HEADLINES, TABLE, Evaluation, ScoredDocument
from receipt_trainer.evaluation.ratio import Share
from receipt_trainer.evaluation.rows import COLUMNS, at, match_rows, row_of, rows_of
from receipt_trainer.extraction.values import normal
from receipt_trainer.files import write_atomically
from receipt_trainer.pages.images import open_image
from receipt_trainer.reports.page import render_page

IMAGE_SIZE: Final = (620, 1400)
"""Pixels that an image is scaled down to fit in."""

MAX_ANSWER: Final = 4000
"""Characters shown of an answer that is no JSON."""


def _document_view(document: ScoredDocument, folder: Path) -> dict[str, Any]:
    """A document on a page; `image` is a data URI, None if it cannot be opened; `raw` an answer that is no JSON."""
    return {
        "title": document.prediction.id,
        "accuracy": document.accuracy,
        "teds": document.scores["teds"].value or 0.0,
        "image": _image_uri(folder / document.prediction.image),
        "fields": _field_views(document.gold, [document.found]),
        "rows": _row_views(document.gold, document.found or {}),
        "raw": document.prediction.text[:MAX_ANSWER] if document.found is None else None,
    }


def _field_views(gold: Mapping[str, Any], answers: Sequence[Mapping[str, Any] | None]) -> list[dict[str, Any]]:
    """All scalar fields, those that no document fills left out: the truth, and what each answer says with whether it
    means the same.
    """
    views = []
    for name in (name for region in FIELDS.values() for name in region if name != TABLE):
        wanted = at(gold, name)
        found = [None if answer is None else at(answer, name) for answer in answers]
        if wanted is None and all(value is None for value in found):
            continue
        hits = [
            (_shown(value), answer is not None and normal(name, value) == normal(name, wanted))
            for value, answer in zip(found, answers, strict=True)
        ]
        is_right = all(hit for _, hit in hits)
        views.append({"name": name, "gold": _shown(wanted), "found": hits, "is_right": is_right})
    return views


def _row_views(gold: Mapping[str, Any], found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows in the order of the truth, then those that are too many; `cells`: (truth, answer, is right) a column."""
    wanted, got = rows_of(gold), rows_of(found)
    matched = dict(match_rows([row_of(item) for item in wanted], [row_of(item) for item in got]))
    rows: list[tuple[str, Any, Any]] = [
        ("paired", item, got[matched[row]]) if row in matched else ("missing", item, {})
        for row, item in enumerate(wanted)
    ]
    rows += [("extra", {}, got[row]) for row in sorted(set(range(len(got))) - set(matched.values()))]
    views = []
    for kind, true, read in rows:
        pairs = [(column, true.get(column), read.get(column)) for column in COLUMNS]
        cells = [
            (_shown(one), _shown(other), kind == "paired" and normal(column, one) == normal(column, other))
            for column, one, other in pairs
        ]
        views.append({"kind": kind, "cells": cells})
    return views


def _shown(value: Any) -> str:
    """A value as it stands in JSON, texts without their quotes; nothing as nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)[:200]


def _image_uri(path: Path) -> str | None:
    """The image, scaled down, as a data URI; None if it cannot be read."""
    try:
        image = open_image(path)
    except UserError:
        return None
    image.thumbnail(IMAGE_SIZE)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=78)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


NUM_WORST: Final = 8


def render_evaluation(evaluation: Evaluation, about: Mapping[str, str], folder: Path) -> str:
    """The page of one evaluation, with its worst documents.

    Args:
        about: what was evaluated, by name.
        folder: what relative paths of images start from.
    """
    return render_page("evaluation.html.j2", {"about": about} | evaluation_view(evaluation, folder))


def evaluation_view(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    """The view of an evaluation; `folder` is what relative paths of images start from."""
    scores = evaluation.scores
    worst = evaluation.worst(len(evaluation.documents))
    return {
        "num_documents": len(evaluation.documents),
        "num_imperfect": len(worst),
        "num_bounded": sum(not document.teds_is_exact for document in evaluation.documents),
        "scores": scores,
        "headlines": [(label, scores.get(name, Share())) for name, label in HEADLINES.items()],
        "gold_totals": scores.get("gold_arithmetic.totals", Share()),
        "regions": field_table(scores),
        "worst": [_document_view(document, folder) for document in worst[:NUM_WORST]],
    }


def render_comparison(comparison: Comparison, about: Mapping[str, str], folders: tuple[Path, Path]) -> str:
    """The page of a comparison, with the documents that changed most.

    Args:
        folders: what relative paths of images start from, on either side.
    """
    rows = {row.name: row for row in comparison.fields}
    table = field_table({name: row.baseline + row.finetuned for name, row in rows.items()})
    regions = [
        (region, rows[f"field_region.{region}"], [(name, rows[f"field.{name}"]) for name, *_ in fields])
        for region, _, _, fields in table
    ]
    view = {
        "about": about,
        "comparison": comparison,
        "regions": regions,
        "labels": HEADLINES,
        "changed": [
            ("Worse than before", [_changed(pair, folders) for pair in comparison.regressions]),
            ("Better than before", [_changed(pair, folders) for pair in comparison.improvements]),
        ],
    }
    return render_page("comparison.html.j2", view)


def _changed(pair: tuple[ScoredDocument, ScoredDocument], folders: tuple[Path, Path]) -> dict[str, Any]:
    before, after = pair
    fields = _field_views(before.gold, [before.found, after.found])
    return {
        "title": before.prediction.id,
        "before": before,
        "after": after,
        "image": _image_uri(folders[1] / after.prediction.image),
        "fields": [field for field in fields if field["found"][0][1] != field["found"][1][1]],
    }


def field_table(scores: Mapping[str, Share]) -> list[tuple[str, Share, Share, list[tuple[str, Share, Share]]]]:
    """(region, all, present, its fields in the same form) in the order of the schema; regions never tried left out."""
    table = []
    for region, names in FIELDS.items():
        prefixes = tuple(f"field.{name}" for name in names)
        fields = [
            (name.removeprefix("field."), share, scores.get(name.replace("field.", "present.", 1), Share()))
            for name, share in scores.items()
            if name in prefixes or name.startswith(tuple(f"{prefix}." for prefix in prefixes))
        ]
        whole = scores.get(f"field_region.{region}", Share())
        if whole.total:
            table.append((region, whole, scores.get(f"present_region.{region}", Share()), fields))
    return table


def write_evaluation(
    evaluation: Evaluation, output: Path, about: Mapping[str, str], folder: Path, now: datetime | None = None
) -> None:
    """Write the page beside `output`, then the scores there; see `render_evaluation`."""
    write_atomically(
        output.with_suffix(".html"), render_evaluation(evaluation, about, folder).encode("utf-8", "replace")
    )
    record = _record(evaluation, about, now or datetime.now(UTC))
    content = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(output, content.encode("utf-8", "replace"))


def _record(evaluation: Evaluation, about: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """The scores as they are written: headlines, regions, fields, and each document's own."""
    scores = evaluation.scores
    parts = {"truth": "gold_arithmetic.", "regions": "field_region.", "regions_present": "present_region."}
    parts |= {"fields": "field.", "fields_present": "present."}
    documents = [
        {"id": one.prediction.id, "seconds": one.prediction.seconds}
        | {name: one.scores[name].value if name in one.scores else None for name in HEADLINES}
        for one in evaluation.documents
    ]
    record = {
        "schema_version": 1,
        "status": "complete",
        "about": dict(about),
        "written_at": now.isoformat(timespec="seconds"),
        "num_documents": len(documents),
        "seconds": sum(document.prediction.seconds for document in evaluation.documents),
        "teds_bounded_documents": sum(not document.teds_is_exact for document in evaluation.documents),
        "scores": {name: scores.get(name, Share()).as_dict() for name in HEADLINES},
        "invented_numbers": scores.get("invented", Share()).as_dict(),
    }
    for key, prefix in parts.items():
        found = {name: share.as_dict() for name, share in scores.items() if name.startswith(prefix)}
        record[key] = {name.removeprefix(prefix): share for name, share in found.items()}
    return record | {"documents": documents}


def read_scores(path: Path) -> dict[str, Any]:
    """A complete file of scores; UserError: there is none."""
    try:
        record: Any = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no scores of an evaluation: {error}") from None
    if not isinstance(record, dict) or record.get("status") != "complete":
        raise UserError(f"{path}: no scores of a complete evaluation")
    return record
