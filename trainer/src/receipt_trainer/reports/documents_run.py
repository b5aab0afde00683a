"""report.html of a run on documents: curves, scores, worst documents, configuration, time and machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from receipt_trainer.config.base import section_of
from receipt_trainer.config.paddleocr_vl import VlDataConfig, VlTrainingConfig
from receipt_trainer.contract.names import PREDICTIONS_FILE
from receipt_trainer.contract.run_record import PaddleOcrVlRecord
from receipt_trainer.errors import UserError
from receipt_trainer.evaluation.answers import read_predictions
from receipt_trainer.evaluation.documents import Evaluation, evaluate
from receipt_trainer.reports import summary
from receipt_trainer.reports.evaluation_pages import evaluation_view
from receipt_trainer.reports.page import render_page
from receipt_trainer.reports.plots import BLUE, VERMILION, Series, draw_charts

MAX_LEFT_OUT = 20
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
        evaluation: of the kept model's answers; None if there are none.
        folder: what relative paths of images start from.
        notes: sentences on what could not be read, shown on top.
    """
    vl = record.vl
    view = summary.run_view(record, notes) | {
        "duration_s": summary.duration_s(record) or record.timings.get("train_s"),
        "charts": _charts(history, vl.best.epoch if vl.best else None),
        "score_columns": {"eval_accuracy": "Tokens right"},
        "evaluations": vl.evaluations,
        "best": vl.best.model_dump() if vl.best else {},
        "kept": vl.scores.model_dump() if vl.scores else {},
        "evaluation": evaluation_view(evaluation, folder) if evaluation is not None else None,
        "left_out": vl.left_out[:MAX_LEFT_OUT],
        "num_left_out": len(vl.left_out),
        "settings": _settings(record),
        "facts": [("Model", summary.measures(_of_model(record))), *summary.facts(record)],
    }
    return render_page("run_documents.html.j2", view)


def _charts(history: Sequence[Mapping[str, Any]], best_epoch: float | None) -> list[Any]:
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
