"""Results of experiments on disk: one line each, and the same as tables."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.errors import UserError
from receipt_trainer.files import write_atomically

LOG: Final = "experiments.jsonl"
SPIKE: Final = 1.1
"""An evaluation whose loss is above so many times the lowest one before it is a spike."""

LAST: Final = 5
"""Evaluations at the end of a run over which its loss's deviation is taken."""


_STEP = re.compile(r"\bstep (\d+): the (?:loss|gradient|validation loss)")


class Result(BaseModel):
    """What came of an experiment. None: not known.

    `present_accuracy` is the field accuracy over the fields that documents have, `field_accuracy` that over all: an
    empty object is right there wherever the truth is null. `spread` is the standard deviation of the last `LAST`
    evaluation losses over their mean; `spikes` counts evaluations above `SPIKE` times the lowest loss before them.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    digest: str
    changes: str
    status: Literal["complete", "failed", "submitted"]
    eval_loss: float | None = None
    field_accuracy: float | None = None
    present_accuracy: float | None = None
    teds: float | None = None
    hours: float | None = None
    peak_memory_gib: float | None = None
    spread: float | None = None
    spikes: int | None = None
    failed_step: int | None = None
    notes: str = ""
    job_id: str | None = None
    finished_at: str | None = None


def stability(losses: Sequence[float]) -> tuple[float | None, int | None]:
    """Spread and spikes of a run's evaluation losses; unknown with fewer than two."""
    if len(losses) < 2:
        return None, None
    last = losses[-LAST:]
    mean = statistics.fmean(last)
    spikes = sum(loss > SPIKE * min(losses[:at]) for at, loss in enumerate(losses) if at)
    return (statistics.pstdev(last) / mean if mean else 0.0), spikes


def step_of(reason: str) -> int | None:
    """The step at which the loss or its gradient became no number, if that was the reason."""
    found = _STEP.search(reason)
    return int(found[1]) if found else None


def from_record(record: RunRecord) -> dict[str, Any]:
    """What a run record says of a result."""
    found = [row.get("eval_loss") for row in record.vl.get("evaluations", [])]
    losses = [float(loss) for loss in found if loss is not None and math.isfinite(loss)]
    spread, spikes = stability(losses)
    best, scores = record.vl.get("best") or {}, record.vl.get("scores") or {}
    return {
        "eval_loss": best.get("eval_loss"),
        "field_accuracy": scores.get("field_accuracy"),
        "present_accuracy": scores.get("present_accuracy"),
        "teds": scores.get("teds"),
        "hours": record.timings["train_s"] / 3600 if "train_s" in record.timings else None,
        "peak_memory_gib": record.vl.get("peak_memory_gib"),
        "spread": spread,
        "spikes": spikes,
    }


def from_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation's scores (R.json) say of a result."""
    names = {"field_accuracy": "fields", "present_accuracy": "presents", "teds": "teds"}
    return {ours: scores["scores"][theirs]["value"] for ours, theirs in names.items()}


def read_log(folder: Path) -> dict[str, Result]:
    """Results by name; none if there is no log yet.

    Raises:
        UserError: a line is no result.
    """
    path, found = folder / LOG, {}
    if not path.is_file():
        return {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            result = Result.model_validate_json(line)
        except ValidationError as error:
            raise UserError(f"{path}:{number}: not a result: {error.errors()[0]['msg']}") from None
        found[result.name] = result
    return found


def write_log(folder: Path, results: Iterable[Result]) -> None:
    """Replace the log and the tables made from it."""
    rows = list(results)
    write_atomically(folder / LOG, "".join(row.model_dump_json() + "\n" for row in rows).encode())
    write_atomically(folder / "experiments.md", as_markdown(rows).encode())
    write_atomically(folder / "experiments.csv", as_csv(rows).encode())


COLUMNS: Final[Mapping[str, str]] = {
    "name": "experiment",
    "changes": "changes",
    "status": "status",
    "eval_loss": "eval loss",
    "present_accuracy": "accuracy of fields that are there",
    "field_accuracy": "accuracy of all fields",
    "teds": "TEDS",
    "hours": "hours",
    "peak_memory_gib": "peak memory, GiB",
    "spikes": "spikes",
    "spread": "spread",
    "failed_step": "failed at step",
    "notes": "notes",
}
"""Columns of the tables, with their headings."""


def as_markdown(rows: Sequence[Result]) -> str:
    """A Markdown table."""
    lines = [" | ".join(COLUMNS.values()), " | ".join("---" for _ in COLUMNS)]
    for row in rows:
        cells = [shown(getattr(row, name)) for name in COLUMNS]
        lines.append(" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells))
    return "".join(f"| {line} |\n" for line in lines)


def as_csv(rows: Sequence[Result]) -> str:
    """A table for spreadsheets, with all digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(["" if (value := getattr(row, name)) is None else value for name in COLUMNS])
    return stream.getvalue()


def shown(value: Any) -> str:
    """A cell; a small number keeps its digits."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.2e}"
    return value if isinstance(value, str) else json.dumps(value)
