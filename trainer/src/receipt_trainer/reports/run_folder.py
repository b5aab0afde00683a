"""A run folder becomes its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from receipt_trainer.contract.names import PREDICTIONS_FILE, REPORT_FILE, RUN_FILE
from receipt_trainer.contract.predictions import ReceiptPrediction, read_predictions
from receipt_trainer.contract.run_record import AnyRecord, PaddleOcrVlRecord, load_record
from receipt_trainer.errors import UserError
from receipt_trainer.files import write_atomically
from receipt_trainer.reports.page import report_extra
from receipt_trainer.reports.summary import describe_scores
from receipt_trainer.reports.terminal import print_report


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The content of a report. `predictions` is None if there are none; `notes` say what could not be read."""

    record: AnyRecord
    predictions: list[ReceiptPrediction] | None
    notes: tuple[str, ...] = ()


def load_run(run_dir: Path) -> RunFolder:
    """Read a run folder; UserError: there is no run.json, or it is no run record."""
    path = run_dir / RUN_FILE
    try:
        record = load_record(path)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: not a run record: {where + ': ' if where else ''}{first['msg']}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give the folder of a run, the one that holds {RUN_FILE}") from None
    if isinstance(record, PaddleOcrVlRecord):  # its predictions are of another kind
        return RunFolder(record, None)
    try:
        found = read_predictions(run_dir / PREDICTIONS_FILE)
    except FileNotFoundError:
        return RunFolder(record, None)
    except OSError as error:
        return RunFolder(record, None, (f"{PREDICTIONS_FILE} cannot be read: {error.strerror}.",))
    broken = found.broken_lines
    if not broken:
        return RunFolder(record, found.receipts)
    named = ", ".join(map(str, broken[:5])) + (", …" if len(broken) > 5 else "")
    note = f"{PREDICTIONS_FILE}: {len(broken)} lines are not receipts and are left out (line {named})."
    return RunFolder(record, found.receipts, (note,))


def write_report(run_dir: Path, folder: RunFolder | None = None) -> Path:
    """Write report.html of a run folder, replacing an old one at once, and return its path.

    Args:
        folder: what was read of it; None reads it.

    Raises:
        UserError: there is no run record, or the report's own dependencies are not installed.
    """
    folder = folder or load_run(run_dir)
    with report_extra():
        if isinstance(folder.record, PaddleOcrVlRecord):
            from receipt_trainer.reports.evaluation_pages import render_folder

            page = render_folder(run_dir, folder.record)
        else:
            from receipt_trainer.reports.html import render_html

            page = render_html(folder.record, folder.predictions, folder.notes)
    path = run_dir / REPORT_FILE
    write_atomically(path, page.encode("utf-8", "replace"))
    return path


def print_run(folder: RunFolder, console: Console) -> None:
    """The report on a terminal; of a run on documents its scores on one line."""
    record = folder.record
    if isinstance(record, PaddleOcrVlRecord):
        console.print(f"{record.job_name} ({record.status}): {describe_scores(record)}", markup=False, soft_wrap=True)
    else:
        print_report(record, folder.predictions, console, folder.notes)
