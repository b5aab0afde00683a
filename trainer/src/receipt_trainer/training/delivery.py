"""Delivery of a run: its rows in the jobs table; once it is finished, report, record and files in S3."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from receipt_trainer.contract import names
from receipt_trainer.contract.job_row import State
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.sinks import ArtifactSink, MetricsSink, NoMetrics, RunStore, Sealed
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.training import checkpoints, distributed
from receipt_trainer.training.console import say
from receipt_trainer.training.family import ModelFamily


def deliver(
    family: ModelFamily[Any],
    record: RunRecord,
    run_dir: Path,
    artifacts: ArtifactSink | None,
    sink: MetricsSink,
    console: Console,
    *,
    is_shown: bool,
) -> None:
    """Report, then the record as complete, then S3: what says `complete` comes after all that it speaks of."""
    if not distributed.is_main():
        return
    record.status = "complete"
    report = family.report(run_dir, record)
    record.write(run_dir / names.RUN_FILE)
    family.conclude(run_dir, record, console if is_shown else None)
    where = _upload(run_dir, artifacts)
    sink.log("info", f"run complete: {family.describe(record)}; files in {where}")
    say(console, f"files: {where}\nmodel: {run_dir / names.MODEL_DIR}\nreport: {report}")


def deliver_again(record: RunRecord, run_dir: Path, artifacts: ArtifactSink | None, console: Console) -> None:
    """A complete run is not trained again; its upload may have failed, so that is repeated."""
    say(console, f"'{record.job_name}' is complete; its files are in {_upload(run_dir, artifacts)}")


def require_same(record: RunRecord, run_dir: Path, asked: Mapping[str, Any], *, is_asked: bool) -> None:
    """Refuse to take a complete run for one of other settings, or to do nothing; the UserError says which it is."""
    there = {"model": record.model, **record.training_config, **record.data_config}
    differing = [name for name, value in asked.items() if value != there.get(name)]
    if differing or not is_asked:
        other = f" with other settings ({', '.join(differing)})" if differing else ""
        raise UserError(
            f"{run_dir} holds the complete run '{record.job_name}'{other}; choose another --output-dir, or --restart "
            "to start over"
        )


def _upload(run_dir: Path, artifacts: ArtifactSink | None) -> str:
    return f"{run_dir}" if artifacts is None else f"{run_dir} and {artifacts.upload(run_dir)}"


def open_metrics(
    store: RunStore, job_id: str, run_dir: Path, attempt: int | None, more: Sequence[Mapping[str, Any]] = ()
) -> MetricsSink:
    """Where the metrics and log lines of this process go; of several, the main one's alone.

    From a worker's second attempt on, the rows of earlier ones are put right first; `more` are rows that no history
    has.
    """
    if not distributed.is_main():
        return NoMetrics()
    is_first = (attempt or 1) == 1
    history = [] if is_first else _history(run_dir)
    return store.open_metrics(job_id, [*history, *more], None if is_first else _sealed(run_dir))


def _history(run_dir: Path) -> list[dict[str, Any]]:
    """The values that earlier attempts logged up to the checkpoint that this one resumes from."""
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
