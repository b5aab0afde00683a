"""A judged document as people look at it: its image, and what was read beside what is there."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from receipt_trainer.data.document import FIELDS
from receipt_trainer.models.paddleocr_vl.evaluate import Judged
from receipt_trainer.models.paddleocr_vl.scores.fields import TABLE
from receipt_trainer.models.paddleocr_vl.scores.rows import COLUMNS, match_rows, row_of
from receipt_trainer.models.paddleocr_vl.scores.values import at, normal, rows_of

IMAGE_SIZE: Final = (620, 1400)
"""Pixels that an image is scaled down to fit in."""

MAX_ANSWER: Final = 4000
"""Characters shown of an answer that is no JSON."""


@dataclass(frozen=True, slots=True)
class FieldView:
    """One field: its name, the truth, and what each answer says with whether it means the same."""

    name: str
    gold: str
    found: Sequence[tuple[str, bool]]

    @property
    def is_right(self) -> bool:
        """All answers mean the same as the truth."""
        return all(hit for _, hit in self.found)


@dataclass(frozen=True, slots=True)
class RowView:
    """A row of the table: (truth, answer, is right) of each column. `kind`: paired, missing or extra."""

    kind: str
    cells: Sequence[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True)
class DocumentView:
    """A document on a page. `image` is a data URI; None if it cannot be opened."""

    title: str
    accuracy: float
    teds: float
    image: str | None
    fields: Sequence[FieldView]
    rows: Sequence[RowView]
    raw: str | None


def view_document(document: Judged, folder: Path) -> DocumentView:
    """What is shown of a document.

    Args:
        folder: what relative paths of images start from.
    """
    raw = document.prediction.text[:MAX_ANSWER] if document.found is None else None
    return DocumentView(
        title=document.prediction.id,
        accuracy=document.accuracy,
        teds=document.scores["teds"].value or 0.0,
        image=image_uri(folder / document.prediction.image),
        fields=view_fields(document.gold, [document.found]),
        rows=_rows(document.gold, document.found or {}),
        raw=raw,
    )


def view_fields(gold: Mapping[str, Any], answers: Sequence[Mapping[str, Any] | None]) -> list[FieldView]:
    """All scalar fields, those that nobody fills left out."""
    views = []
    for name in (name for region in FIELDS.values() for name in region if name != TABLE):
        wanted = at(gold, name)
        found = [None if answer is None else at(answer, name) for answer in answers]
        if wanted is None and all(value is None for value in found):
            continue
        hits = [
            (shown(value), answer is not None and normal(name, value) == normal(name, wanted))
            for value, answer in zip(found, answers, strict=True)
        ]
        views.append(FieldView(name, shown(wanted), hits))
    return views


def _rows(gold: Mapping[str, Any], found: Mapping[str, Any]) -> list[RowView]:
    """Rows in the order of the truth, then those that are too many."""
    wanted, got = rows_of(gold), rows_of(found)
    matched = dict(match_rows([row_of(item) for item in wanted], [row_of(item) for item in got]))
    views = [
        _row("paired", item, got[matched[row]]) if row in matched else _row("missing", item, {})
        for row, item in enumerate(wanted)
    ]
    extra = sorted(set(range(len(got))) - set(matched.values()))
    return views + [_row("extra", {}, got[row]) for row in extra]


def _row(kind: str, gold: Mapping[str, Any], found: Mapping[str, Any]) -> RowView:
    cells = []
    for column in COLUMNS:
        wanted, got = gold.get(column), found.get(column)
        cells.append((shown(wanted), shown(got), kind == "paired" and normal(column, wanted) == normal(column, got)))
    return RowView(kind, cells)


def shown(value: Any) -> str:
    """A value as it stands in JSON, texts without their quotes; nothing as nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)[:200]


def image_uri(path: Path) -> str | None:
    """The image, scaled down, as a data URI; None if it cannot be read."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    image.thumbnail(IMAGE_SIZE)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=78)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
