"""What a run tells the jobs table: its own row, unless a worker owns that, and its metrics and log."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console

from receipt_trainer.contract.sinks import MetricsSink, NoMetrics
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.training import checkpoints, distributed

if TYPE_CHECKING:
    from receipt_trainer.cli.run_job import RunOptions
    from receipt_trainer.jobs.reconcile import Sealed


def open_sink(options: RunOptions, job_id: str, more: Sequence[Mapping[str, Any]] = ()) -> MetricsSink:
    """Where metrics and log lines go; the job is RUNNING from here on.

    Args:
        more: rows of metrics that no checkpoint's history has, to be written where the table lacks them.
    """
    if not options.jobs_table or not distributed.is_main():
        return NoMetrics()
    from receipt_trainer.aws.clients import dynamodb
    from receipt_trainer.jobs.metrics_writer import JobStore

    put_job(options, job_id, "RUNNING")
    return JobStore(
        dynamodb(),
        options.jobs_table,
        job_id,
        attempt=options.attempt,
        history=[*_history(options), *more],
        sealed=_sealed(options),
    )


def _history(options: RunOptions) -> list[dict[str, Any]]:
    """What earlier attempts logged up to the checkpoint that this one goes on from."""
    if (options.attempt or 1) == 1 or options.output_dir is None:
        return []
    found = checkpoints.latest(options.output_dir)
    return list(json.loads((found.path / checkpoints.STATE).read_bytes())["log_history"]) if found else []


def _sealed(options: RunOptions) -> list[Sealed] | None:
    """The checkpoints that earlier attempts left; None at the first, of which no row can be wrong."""
    if (options.attempt or 1) == 1 or options.output_dir is None:
        return None
    from receipt_trainer.jobs import reconcile

    found = []
    for path in checkpoints.folders(options.output_dir):
        with contextlib.suppress(OSError, ValueError, KeyError):  # none that a run goes on from
            marker = json.loads((path / checkpoints.SEAL).read_bytes())
            epoch = json.loads((path / checkpoints.STATE).read_bytes())["epoch"]
            size = sum(int(file["size"]) for file in marker["files"].values())
            found.append(reconcile.Sealed(int(marker["step"]), float(epoch), path, size))
    return found


def fill_gaps(options: RunOptions, job_id: str, more: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write what an earlier attempt trained to the end and could not write; `more` as for `open_sink`.

    Raises:
        WorldError: rows could not be written.
    """
    if options.job_id is not None:
        open_sink(options, job_id, more).close()


def put_job(options: RunOptions, job_id: str, status: str) -> None:
    """The job's own row; also how a table that is not there is found before training."""
    if not options.jobs_table or not distributed.is_main() or options.job_id is not None:
        return
    from receipt_trainer.aws.clients import dynamodb
    from receipt_trainer.jobs import rows

    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    rows.put_job(dynamodb(), options.jobs_table, job_id, name=options.job_name, status=status, created_at=stamp)


def end(options: RunOptions, job_id: str, sink: MetricsSink, status: str, reason: str) -> None:
    """Say how the run ended. The fault that ended it is the one to report; rows that fail now come second."""
    if options.job_id is None:  # a worker says it in its own words
        sink.log("info" if status == "INTERRUPTED" else "error", reason)
    try:
        put_job(options, job_id, status)
        sink.close()
    except (UserError, WorldError) as error:
        Console(stderr=True).print(f"also: {error}", markup=False, highlight=False)
