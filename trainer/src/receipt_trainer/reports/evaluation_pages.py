"""Documents read by models: pages and files of evaluations, comparisons and runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from receipt_trainer.config.base import section_of
from receipt_trainer.config.paddleocr_vl import VlDataConfig, VlTrainingConfig
from receipt_trainer.contract.names import PREDICTIONS_FILE
from receipt_trainer.contract.run_record import PaddleOcrVlRecord
from receipt_trainer.data.document import FIELDS, TABLE, at
from receipt_trainer.errors import UserError
from receipt_trainer.evaluation.answers import read_predictions
from receipt_trainer.evaluation.compare import Comparison
from receipt_trainer.evaluation.documents import HEADLINES, Evaluation, ScoredDocument, evaluate
from receipt_trainer.evaluation.line_items import COLUMNS, match_rows, row_of, rows_of
from receipt_trainer.evaluation.ratio import Share
from receipt_trainer.evaluation.receipt_fields import answered_fields
from receipt_trainer.extraction.values import normal
from receipt_trainer.files import write_atomically
from receipt_trainer.reports import summary
from receipt_trainer.reports.advice import advise, field_view
from receipt_trainer.reports.page import open_photo, render_page

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
    photo = open_photo(path, IMAGE_SIZE)
    return photo.uri if photo else None


NUM_WORST: Final = 8


def render_evaluation(evaluation: Evaluation, about: Mapping[str, str], folder: Path) -> str:
    """The page of what `about` names, with its worst documents; paths of images may be relative to `folder`."""
    return render_page("evaluation.html.j2", {"about": about} | evaluation_view(evaluation, folder))


def evaluation_view(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    """The view of an evaluation; see `render_evaluation`."""
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
    """The page of a comparison, with the documents that changed most; see `render_evaluation`."""
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


MAX_LEFT_OUT: Final = 20
"""Documents that are too long and are named; run.json has them all."""


def render_folder(run_dir: Path, record: PaddleOcrVlRecord) -> str:
    """The page of a run folder, with what its checkpoints and predictions hold."""
    evaluation, notes = _evaluation(run_dir / PREDICTIONS_FILE)
    return render_run(record, read_history(run_dir, record), evaluation, run_dir, notes)


def _evaluation(path: Path) -> tuple[Evaluation | None, list[str]]:
    if not path.is_file():
        return None, []
    try:
        return evaluate(read_predictions(path)), []
    except UserError as error:
        return None, [f"The answers cannot be scored: {error}"]


def read_history(run_dir: Path, record: PaddleOcrVlRecord) -> list[dict[str, Any]]:
    """The logged values, by the newest checkpoint's own state: rows with epoch, step and some values.

    Without a checkpoint, as in a copy of a run, the record's evaluations.
    """
    states = [path for path in run_dir.glob("checkpoint-*/trainer_state.json") if path.parent.name[11:].isdecimal()]
    for path in sorted(states, key=lambda path: -int(path.parent.name[11:])):
        try:
            rows = json.loads(path.read_bytes())["log_history"]
            return [row for row in rows if {"epoch", "step"} <= row.keys()]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return [{**row.model_dump(), "loss": row.train_loss} for row in record.vl.evaluations]


def render_run(
    record: PaddleOcrVlRecord,
    history: Sequence[Mapping[str, Any]],
    evaluation: Evaluation | None,
    folder: Path,
    notes: Sequence[str] = (),
) -> str:
    """The complete document.

    Args:
        history: rows with epoch, and `loss`, `eval_loss`, `eval_accuracy` or `learning_rate`.
        evaluation: of the kept model's answers, whose images may be relative to `folder`.
        notes: sentences on what could not be read, shown on top.
    """
    vl = record.vl
    documents = evaluation.documents if evaluation is not None else ()
    fields = list(answered_fields(documents))
    view = (
        summary.run_view(record, notes)
        | field_view(fields, [one.prediction.id for one in documents])
        | {
            "advice": advise(record, fields=fields),
            "duration_s": summary.duration_s(record) or record.timings.get("train_s"),
            "charts": _charts(history, vl.best.epoch if vl.best else None),
            "score_columns": {"eval_accuracy": "Tokens right"},
            "evaluations": vl.evaluations,
            "best": vl.best.model_dump() if vl.best else {},
            "kept": vl.scores.model_dump() if vl.scores else {},
            "rehearsal": vl.rehearsal,
            "evaluation": evaluation_view(evaluation, folder) if evaluation is not None else None,
            "left_out": vl.left_out[:MAX_LEFT_OUT],
            "num_left_out": len(vl.left_out),
            "settings": _settings(record),
            "facts": [("Model", summary.measures(_of_model(record))), *summary.facts(record)],
        }
    )
    return render_page("run_documents.html.j2", view)


def _charts(history: Sequence[Mapping[str, Any]], best_epoch: float | None) -> list[Any]:
    from receipt_trainer.reports.plots import BLUE, VERMILION, Series, draw_charts

    def values(name: str) -> list[float | None]:
        return [None if row.get(name) is None else float(row[name]) for row in history]

    wanted = {
        "Loss": [
            Series("training", values("loss"), BLUE, "--"),
            Series("validation", values("eval_loss"), VERMILION),
        ],
        "Score: validation tokens right": [Series("tokens right", values("eval_accuracy"), BLUE)],
        "Learning rate": [Series("learning rate", values("learning_rate"), BLUE)],
    }
    return draw_charts([float(row["epoch"]) for row in history], wanted, best_epoch)


def _of_model(record: PaddleOcrVlRecord) -> dict[str, Any]:
    counts = record.vl.parameters.model_dump() if record.vl.parameters else {}
    known = {f"{name}_parameters": value for name, value in counts.items()}
    return known | {"peak_memory_gib": record.vl.peak_memory_gib}


def _settings(record: PaddleOcrVlRecord) -> list[tuple[str, list[summary.Setting]]]:
    """Sections of the configuration by name, each with its keys."""
    given = record.training_config | record.data_config
    plain = {name: value for name, value in given.items() if not isinstance(value, dict)}
    training = {name: value for name, value in plain.items() if name in VlTrainingConfig.model_fields}
    data = {name: value for name, value in plain.items() if name not in training}
    found = [
        ("training", summary.settings(training, VlTrainingConfig)),
        ("data", summary.settings(data, VlDataConfig)),
    ]
    for name, values in given.items():
        if isinstance(values, dict):
            section = section_of(VlTrainingConfig, name) or section_of(VlDataConfig, name)
            found.append((name, summary.settings(values, section)))
    return found
