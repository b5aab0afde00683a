"""A run folder becomes its report."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from rich.console import Console

from receipt_trainer.contract.names import MODEL_DIR, PREDICTIONS_FILE, REPORT_FILE, RUN_FILE
from receipt_trainer.contract.package import MANIFEST_FILE, SERVE_DIR, PackageManifest
from receipt_trainer.contract.predictions import ReceiptPrediction, read_predictions
from receipt_trainer.contract.run_record import AnyRecord, LayoutLMRecord, PaddleOcrVlRecord, load_record
from receipt_trainer.data.dedup import letters
from receipt_trainer.data.labels import normalise
from receipt_trainer.data.sources.record import given_label
from receipt_trainer.errors import UserError
from receipt_trainer.files import open_text, write_atomically
from receipt_trainer.reports.page import report_extra
from receipt_trainer.reports.summary import describe_scores
from receipt_trainer.reports.terminal import print_report

_LARGEST: Final = 200_000_000
"""Bytes of a data file in which lines are looked for."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The content of a report. `predictions` is None if there are none; `notes` say what could not be read.

    `manifest` is that of the model's package, None without one.
    """

    record: AnyRecord
    predictions: list[ReceiptPrediction] | None
    notes: tuple[str, ...] = ()
    manifest: PackageManifest | None = None


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
    manifest = _manifest(run_dir / MODEL_DIR / SERVE_DIR / MANIFEST_FILE)
    broken = found.broken_lines
    if not broken:
        return RunFolder(record, found.receipts, manifest=manifest)
    named = ", ".join(map(str, broken[:5])) + (", …" if len(broken) > 5 else "")
    note = f"{PREDICTIONS_FILE}: {len(broken)} lines are not receipts and are left out (line {named})."
    return RunFolder(record, found.receipts, (note,), manifest)


def _manifest(path: Path) -> PackageManifest | None:
    try:
        return PackageManifest.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _look_up(record: LayoutLMRecord, predictions: Sequence[ReceiptPrediction]) -> tuple[dict[str, str], frozenset[str]]:
    """From the run's files of JSON lines, as far as they are still there: `file:line` of validation receipts by name,
    and the letters of merchants that other receipts name.
    """
    wanted, places, merchants = {receipt.name for receipt in predictions}, dict[str, str](), set[str]()
    named = (record.data_config.get(key) for key in ("eval_dataset", "dataset_name"))
    for part in ",".join(name for name in named if isinstance(name, str)).split(","):
        path = Path(part.strip())
        try:
            if not path.is_file() or path.stat().st_size > _LARGEST:
                continue
            with open_text(path) as stream:
                for row, line in enumerate(stream, start=1):
                    receipt = json.loads(line) if line.strip() else None
                    name = receipt.get("id") if isinstance(receipt, dict) else None
                    if isinstance(name, str) and name in wanted:
                        places.setdefault(name, f"{path.name}:{row}")
                    elif isinstance(receipt, dict) and isinstance(receipt.get("words"), list):
                        merchants.add(letters(_merchant(receipt["words"])))
        except (OSError, EOFError, ValueError, RecursionError, zlib.error):
            continue  # another format, or gone: then no line is named
    return places, frozenset(merchants - {""})


def _merchant(words: Sequence[Any]) -> str:
    labelled = [(word, label) for word in words if isinstance(label := given_label(word), str)]
    return " ".join(str(word.get("text", "")) for word, label in labelled if normalise(label) == "MERCHANT_NAME")


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

            places, seen = _look_up(folder.record, folder.predictions or ())
            page = render_html(folder.record, folder.predictions, folder.notes, folder.manifest, places, seen)
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


def next_steps(run_dir: Path) -> str:
    """What to do with a complete run of receipts, a command a line, as it can be typed in this shell."""
    place, home = shlex.quote(str(run_dir)), Path(sys.executable).parent
    shown = home.relative_to(Path.cwd()) if home.is_relative_to(Path.cwd()) else home
    before = "" if shutil.which("receipt-trainer") else f"{shlex.quote(str(shown))}/"
    can_read = (run_dir / MODEL_DIR / SERVE_DIR / MANIFEST_FILE).is_file()
    use = f"receipt-trainer read PHOTO --model {place} --table" if can_read else f"layoutlm-cli export {place}"
    report = f"{before}layoutlm-cli report {place}"
    return f"next: {report}   (curves, confusions, the worst receipts)\n      {before}{use}"
