"""What a finished run is turned into: report, complete record, rows, files in S3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from receipt_trainer.contract import names
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.sinks import ArtifactSink, MetricsSink
from receipt_trainer.errors import UserError
from receipt_trainer.training import distributed
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
    """Report, then the record as complete, then S3: what says `complete` comes after all that it speaks of.

    Args:
        is_shown: print the results; a worker's log is for its own lines.
    """
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
    """Refuse to take a complete run for one of other settings, or to do nothing.

    Args:
        asked: see `ModelFamily`.
        is_asked: there is somebody or some place to deliver to.

    Raises:
        UserError: says which it is.
    """
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
