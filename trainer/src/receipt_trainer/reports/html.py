"""report.html of a run on labelled receipts: curves, scores, confusion, worst receipts, configuration, machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.predictions import ReceiptPrediction
from receipt_trainer.contract.run_record import Confusion, LayoutLMRecord
from receipt_trainer.reports import summary
from receipt_trainer.reports.page import render_page
from receipt_trainer.reports.plots import learning_curves
from receipt_trainer.reports.receipt_svg import draw, label_colors
from receipt_trainer.reports.word_errors import WordOutcome, confusion_of, largest, top_confusions, worst_receipts

NUM_WORST: Final = 6
MAX_MATRIX_LABELS: Final = 24


def render_html(
    record: LayoutLMRecord, predictions: Sequence[ReceiptPrediction] | None, notes: Sequence[str] = ()
) -> str:
    """The complete document; `predictions` of the validation receipts, `notes` on what could not be read, on top."""
    return render_page("run_receipts.html.j2", _view(record, predictions, notes))


def _view(
    record: LayoutLMRecord, predictions: Sequence[ReceiptPrediction] | None, notes: Sequence[str]
) -> Mapping[str, Any]:
    head = summary.headline(record)
    confusion = confusion_of(record, predictions or ())
    shown = largest(confusion, MAX_MATRIX_LABELS) if confusion else None
    colors = label_colors(_all_labels(record, predictions or ()))
    return (
        summary.run_view(record, notes)
        | {
            "head": head,
            "charts": learning_curves(record.epoch_metrics, head.best_epoch),
            "evaluations": record.epoch_metrics,
            "score_columns": {"precision": "Precision", "recall": "Recall", "f1": "F1"},
            "label_scores": summary.label_scores(record),
            "colors": colors,
            "matrix": _matrix(shown) if shown else None,
            "num_matrix_hidden": len(confusion.labels) - len(shown.labels) if confusion and shown else 0,
            "top_confusions": top_confusions(confusion, 8) if confusion else [],
            "problems": summary.problem_rows(record.dataset_counts),
            "settings": summary.layoutlm_settings(record).items(),
            "num_predicted": None if predictions is None else len(predictions),
        }
        | _worst_view(predictions or (), colors)
    )


def _all_labels(record: LayoutLMRecord, predictions: Sequence[ReceiptPrediction]) -> list[str]:
    """The record's labels, then those that only the predictions know."""
    words = [word for receipt in predictions for word in receipt.words]
    found = (label for word in words for label in (word.gold, word.pred))
    return [label for label in dict.fromkeys((*summary.label_order(record), *found)) if label != OUTSIDE]


def _worst_view(predictions: Sequence[ReceiptPrediction], colors: Mapping[str, str]) -> dict[str, Any]:
    ranked = worst_receipts(predictions, limit=len(predictions))
    worst = ranked[:NUM_WORST]
    pairs = [pair for item in worst for pair in zip(item.receipt.words, item.verdicts, strict=True)]
    drawn = {word.gold for word, verdict in pairs if verdict is WordOutcome.CORRECT}
    return {
        "num_receipts_wrong": len(ranked),
        "worst": [(item, draw(item, colors)) for item in worst],
        "legend": [(label, color) for label, color in colors.items() if label in drawn],
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
