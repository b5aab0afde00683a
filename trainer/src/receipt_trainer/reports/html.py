"""report.html of a run on labelled receipts: curves, scores, confusion, worst receipts, configuration, machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.package import PackageManifest
from receipt_trainer.contract.predictions import ReceiptPrediction
from receipt_trainer.contract.run_record import Confusion, LayoutLMRecord
from receipt_trainer.evaluation.receipt_fields import acceptance, read_fields
from receipt_trainer.reports import summary
from receipt_trainer.reports.advice import FEW_VALUES, advise, by_merchant, field_view, generated_share, is_sure_error
from receipt_trainer.reports.page import render_page
from receipt_trainer.reports.plots import learning_curves
from receipt_trainer.reports.receipt_svg import draw, label_colors
from receipt_trainer.reports.word_errors import (
    WordOutcome,
    confusion_of,
    error_runs,
    judged,
    largest,
    top_confusions,
    worst_receipts,
)

NUM_WORST: Final = 6
MAX_MATRIX_LABELS: Final = 24
MAX_READ: Final = 1000
"""Receipts whose values are read again: each takes about 30 ms."""
MAX_CAPTIONS: Final = 40
MAX_SURE: Final = 30
MAX_ERRORS: Final = 5000
"""Errors in the list of all; more are in predictions.jsonl."""


def render_html(
    record: LayoutLMRecord,
    predictions: Sequence[ReceiptPrediction] | None,
    notes: Sequence[str] = (),
    manifest: PackageManifest | None = None,
    places: Mapping[str, str] | None = None,
    seen: Collection[str] = (),
) -> str:
    """The complete document.

    Args:
        predictions: of the validation receipts.
        notes: on what could not be read, on top.
        manifest: of the model's package: how it reads dates and amounts.
        places: `file:line` of receipts by name, where it is known.
        seen: the letters of merchants of training receipts, where they are known.
    """
    return render_page("run_receipts.html.j2", _view(record, predictions, notes, manifest, places or {}, seen))


def _view(
    record: LayoutLMRecord,
    predictions: Sequence[ReceiptPrediction] | None,
    notes: Sequence[str],
    manifest: PackageManifest | None,
    places: Mapping[str, str],
    seen: Collection[str],
) -> Mapping[str, Any]:
    head = summary.headline(record)
    receipts = predictions or ()
    confusion = confusion_of(record, receipts)
    shown = largest(confusion, MAX_MATRIX_LABELS) if confusion else None
    colors = label_colors(_all_labels(record, receipts))
    worst, errors = _worst_view(receipts, colors), _errors_view(receipts)
    anchors = _anchors(worst["worst"], errors["errors"])
    fields = list(read_fields(receipts[:MAX_READ], manifest))
    return (
        summary.run_view(record, notes)
        | field_view(fields, [receipt.name or receipt.key for receipt in receipts])
        | worst
        | errors
        | {
            "head": head,
            "advice": advise(record, predictions, fields, seen),
            "by_merchant": by_merchant(fields, seen),
            "generated": generated_share(record, predictions),
            "anchors": anchors,
            "links": {f"#errors-{number}": anchors.get(number, "#confusion") for number in range(1, len(receipts) + 1)},
            "places": places,
            "acceptance": acceptance(fields),
            "calibrated": manifest is not None and manifest.calibration.calibrated,
            "charts": learning_curves(record.epoch_metrics, head.best_epoch),
            "evaluations": record.epoch_metrics,
            "score_columns": {"precision": "Precision", "recall": "Recall", "f1": "F1"},
            "label_scores": summary.label_scores(record),
            "few_values": FEW_VALUES,
            "max_captions": MAX_CAPTIONS,
            "matrix": _matrix(shown) if shown else None,
            "num_matrix_hidden": len(confusion.labels) - len(shown.labels) if confusion and shown else 0,
            "top_confusions": top_confusions(confusion, 8) if confusion else [],
            "problems": summary.problem_rows(record.dataset_counts),
            "settings": summary.layoutlm_settings(record).items(),
            "num_predicted": None if predictions is None else len(predictions),
            "num_read": min(MAX_READ, len(receipts)),
            "colors": colors,
        }
    )


def _all_labels(record: LayoutLMRecord, predictions: Sequence[ReceiptPrediction]) -> list[str]:
    """The record's labels, then those that only the predictions know."""
    words = [word for receipt in predictions for word in receipt.words]
    found = (label for word in words for label in (word.gold, word.pred))
    return [label for label in dict.fromkeys((*summary.label_order(record), *found)) if label != OUTSIDE]


def _worst_view(predictions: Sequence[ReceiptPrediction], colors: Mapping[str, str]) -> dict[str, Any]:
    ranked = worst_receipts(predictions, limit=len(predictions))
    worst = ranked[:NUM_WORST]
    numbers = {id(receipt): number for number, receipt in enumerate(predictions, start=1)}
    pairs = [pair for item in worst for pair in zip(item.receipt.words, item.verdicts, strict=True)]
    drawn = {word.gold for word, verdict in pairs if verdict is WordOutcome.CORRECT}
    return {
        "num_receipts_wrong": len(ranked),
        "worst": [(numbers[id(item.receipt)], item, draw(item, colors)) for item in worst],
        "legend": [(label, color) for label, color in colors.items() if label in drawn],
    }


def _errors_view(predictions: Sequence[ReceiptPrediction]) -> dict[str, Any]:
    """Receipts with their number and errors (text, gold, read, score), and the words that the model was sure of."""
    errors, left, sure = [], MAX_ERRORS, []
    for number, item in enumerate(map(judged, predictions), start=1):
        runs = list(error_runs(item))
        words = item.receipt.words
        found = [
            (" ".join(words[index].text for index in run.indexes), run.gold, run.pred, words[run.indexes[0]].score)
            for run in runs[: max(0, left)]
        ]
        left -= len(runs)
        if found:
            errors.append((number, item, found))
        sure += [(number, item.title, word) for word in words if is_sure_error(word)]
    return {
        "errors": errors,
        "num_errors": MAX_ERRORS - left,
        "num_errors_hidden": max(0, -left),
        "sure": sorted(sure, key=lambda row: -(row[2].score or 0.0))[:MAX_SURE],
        "num_sure": len(sure),
    }


def _anchors(worst: Sequence[tuple[int, Any, Any]], errors: Sequence[tuple[int, Any, Any]]) -> dict[int, str]:
    """Where on the page a receipt of this number is: its drawing, else its errors."""
    return {number: f"#errors-{number}" for number, *_ in errors} | {
        number: f"#receipt-{number}" for number, *_ in worst
    }


def _matrix(confusion: Confusion) -> dict[str, Any]:
    """Rows of (label, total, cells); a cell is (count, share of its row 0..1, is on the diagonal, predicted label)."""
    rows = []
    for at, (label, counts) in enumerate(zip(confusion.labels, confusion.counts, strict=True)):
        total = sum(counts)
        cells = [
            (count, count / total if total else 0.0, at == column, confusion.labels[column])
            for column, count in enumerate(counts)
        ]
        rows.append((label, total, cells))
    return {"labels": confusion.labels, "rows": rows}
