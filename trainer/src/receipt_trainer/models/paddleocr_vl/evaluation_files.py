"""What an evaluation leaves on disk: predictions, a page, and last the scores, which mark it as complete."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from receipt_trainer.errors import UserError
from receipt_trainer.files import write_atomically
from receipt_trainer.models.paddleocr_vl.evaluate import HEADLINES, Evaluation, Judged
from receipt_trainer.models.paddleocr_vl.pages import render_evaluation
from receipt_trainer.models.paddleocr_vl.scores.ratio import Share


@dataclass(frozen=True, slots=True)
class EvaluationFiles:
    """Names of an evaluation's files, after the file of its scores (`R.json`)."""

    scores: Path

    @property
    def predictions(self) -> Path:
        """`R.predictions.jsonl`."""
        return self.scores.with_name(f"{self.scores.stem}.predictions.jsonl")

    @property
    def page(self) -> Path:
        """`R.html`."""
        return self.scores.with_name(f"{self.scores.stem}.html")

    def begin(self) -> None:
        """Take away the scores of an earlier evaluation: what is written now is not theirs."""
        self.scores.unlink(missing_ok=True)


def write_evaluation(
    evaluation: Evaluation, files: EvaluationFiles, about: Mapping[str, str], folder: Path, now: datetime | None = None
) -> None:
    """Write the page, then the scores.

    Args:
        about: what was evaluated, by name.
        folder: what relative paths of images start from.
        now: time stamp of the scores.
    """
    write_atomically(files.page, render_evaluation(evaluation, about, folder).encode("utf-8", "replace"))
    record = make_record(evaluation, about, now or datetime.now(UTC))
    content = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(files.scores, content.encode("utf-8", "replace"))


def make_record(evaluation: Evaluation, about: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """The scores as they are written: headlines, regions, fields, and each document's own."""
    scores = evaluation.scores
    return {
        "schema_version": 1,
        "status": "complete",
        "about": dict(about),
        "written_at": now.isoformat(timespec="seconds"),
        "num_documents": len(evaluation.documents),
        "seconds": sum(document.prediction.seconds for document in evaluation.documents),
        "teds_bounded_documents": sum(not document.teds_is_exact for document in evaluation.documents),
        "scores": {name: scores.get(name, Share()).as_dict() for name in HEADLINES},
        "invented_numbers": scores.get("invented", Share()).as_dict(),
        "truth": _part(scores, "gold_arithmetic."),
        "regions": _part(scores, "field_region."),
        "regions_present": _part(scores, "present_region."),
        "fields": _part(scores, "field."),
        "fields_present": _part(scores, "present."),
        "documents": [_document(document) for document in evaluation.documents],
    }


def _part(scores: Mapping[str, Share], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): share.as_dict() for name, share in scores.items() if name.startswith(prefix)}


def _document(document: Judged) -> dict[str, Any]:
    values = {name: document.scores[name].value if name in document.scores else None for name in HEADLINES}
    return {"id": document.prediction.id, "seconds": document.prediction.seconds} | values


def read_scores(path: Path) -> dict[str, Any]:
    """A complete file of scores.

    Raises:
        UserError: there is none.
    """
    try:
        record: Any = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no scores of an evaluation: {error}") from None
    if not isinstance(record, dict) or record.get("status") != "complete":
        raise UserError(f"{path}: no scores of a complete evaluation")
    return record
