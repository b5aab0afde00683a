"""What a run tells the jobs table: its own row, unless a worker owns that, and its metrics and log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console

from receipt_trainer.contract.ports import MetricsSink, NoMetrics
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.train import ranks

if TYPE_CHECKING:
    from receipt_trainer.cli.run_job import RunOptions


def open_sink(options: RunOptions, job_id: str) -> MetricsSink:
    """Where metrics and log lines go; the job is RUNNING from here on."""
    if not options.jobs_table or not ranks.is_main():
        return NoMetrics()
    from receipt_trainer.aws.clients import dynamodb
    from receipt_trainer.jobs.store import JobStore

    put_job(options, job_id, "RUNNING")
    return JobStore(dynamodb(), options.jobs_table, job_id, attempt=options.attempt)


def put_job(options: RunOptions, job_id: str, status: str) -> None:
    """The job's own row; also how a table that is not there is found before training."""
    if not options.jobs_table or not ranks.is_main() or options.job_id is not None:
        return
    from receipt_trainer.aws.clients import dynamodb
    from receipt_trainer.jobs import rows

    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    rows.put_job(dynamodb(), options.jobs_table, job_id, name=options.job_name, status=status, created_at=stamp)


def end(options: RunOptions, job_id: str, sink: MetricsSink, status: str, reason: str) -> None:
    """Say how the run ended. The fault that ended it is the one to report; rows that fail now come second."""
    sink.log("info" if status == "INTERRUPTED" else "error", reason)
    try:
        put_job(options, job_id, status)
        sink.close()
    except (UserError, WorldError) as error:
        Console(stderr=True).print(f"also: {error}", markup=False, highlight=False)
