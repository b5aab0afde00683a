"""What a run tells the jobs table: its status, metrics and log, and what earlier attempts could not write."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from receipt_trainer.contract.job_row import State
from receipt_trainer.contract.sinks import MetricsSink, NoMetrics, RunStore, Sealed
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.training import checkpoints, distributed


def open_metrics(
    store: RunStore, job_id: str, run_dir: Path, attempt: int | None, more: Sequence[Mapping[str, Any]] = ()
) -> MetricsSink:
    """Where the metrics and log lines of this process go; of several, the main one's alone.

    Args:
        attempt: the worker's claim; from the second on, the rows of earlier ones are put right first.
        more: rows of metrics that no checkpoint's history has, to be written where the table lacks them.
    """
    if not distributed.is_main():
        return NoMetrics()
    is_first = (attempt or 1) == 1
    history = [] if is_first else _history(run_dir)
    return store.open_metrics(job_id, [*history, *more], None if is_first else _sealed(run_dir))


def _history(run_dir: Path) -> list[dict[str, Any]]:
    """What earlier attempts logged up to the checkpoint that this one resumes from."""
    found = checkpoints.latest(run_dir)
    return list(json.loads((found.path / checkpoints.STATE).read_bytes())["log_history"]) if found else []


def _sealed(run_dir: Path) -> list[Sealed]:
    """The checkpoints that earlier attempts left."""
    found = []
    for path in checkpoints.folders(run_dir):
        with contextlib.suppress(OSError, ValueError, KeyError):  # none that a run resumes from
            marker = json.loads((path / checkpoints.SEAL).read_bytes())
            epoch = json.loads((path / checkpoints.STATE).read_bytes())["epoch"]
            size = sum(int(file["size"]) for file in marker["files"].values())
            found.append(Sealed(int(marker["step"]), float(epoch), path, size))
    return found


def set_status(store: RunStore, job_id: str, job_name: str, status: State) -> None:
    """See `RunStore`; of several processes the main one writes."""
    if distributed.is_main():
        store.set_status(job_id, job_name, status)


def end(store: RunStore, job_id: str, job_name: str, sink: MetricsSink, status: State) -> None:
    """Say how a run ended. The fault that ended it is the one to report; rows that fail come second."""
    try:
        set_status(store, job_id, job_name, status)
        sink.close()
    except (UserError, WorldError) as error:
        Console(stderr=True).print(f"also: {error}", markup=False, highlight=False)
