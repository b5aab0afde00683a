"""What a finished run is turned into: report, complete record, files in S3."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from receipt_trainer.contract import names
from receipt_trainer.contract.env import WorkerEnv
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.sinks import ArtifactSink, MetricsSink
from receipt_trainer.errors import UserError
from receipt_trainer.training import distributed

if TYPE_CHECKING:
    from receipt_trainer.cli.run_job import RunOptions


def deliver(
    options: RunOptions,
    record: RunRecord,
    run_dir: Path,
    artifacts: ArtifactSink | None,
    sink: MetricsSink,
    console: Console,
) -> None:
    """Report, then the record as complete, then S3: what says `complete` comes after all that it speaks of."""
    if not distributed.is_main():
        return
    from receipt_trainer.reports.build import load_run, write_html
    from receipt_trainer.reports.terminal import print_report

    record.status = "complete"
    folder = replace(load_run(run_dir), record=record)
    report = write_html(run_dir, folder)
    record.write(run_dir / names.RUN_FILE)
    if options.job_id is None or console.is_terminal:  # a worker's log is for its own lines
        print_report(record, folder.predictions, console)
    where = f"{run_dir}"
    if artifacts is not None:
        where += f" and {artifacts.upload(run_dir)}"
    sink.log("info", f"run complete: f1 {record.overall.f1 if record.overall else float('nan'):.4f}; files in {where}")
    console.print(f"files: {where}\nreport: {report}", markup=False, highlight=False, soft_wrap=True)


def open_artifacts(options: RunOptions, job_id: str) -> ArtifactSink | None:
    """Where the run's files go: a prefix of its own, so that no two runs' files ever mix.

    Raises:
        UserError: no AWS CLI, or no such bucket.
    """
    if not options.artifacts_bucket:
        return None
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.artifacts import S3Artifacts, run_prefix

    env = WorkerEnv.read(os.environ)
    artifacts = S3Artifacts(options.artifacts_bucket, run_prefix(options.job_name, job_id), cli=env.aws_cli)
    artifacts.check()
    with clients.aws_faults(f"look for bucket '{options.artifacts_bucket}'"):
        clients.s3().list_objects_v2(Bucket=options.artifacts_bucket, Prefix="runs/", MaxKeys=1)
    return artifacts


def deliver_again(
    record: RunRecord, run_dir: Path, artifacts: ArtifactSink | None, console: Console, *, is_asked: bool
) -> None:
    """A complete run is not trained again; its upload may have failed, so that is repeated.

    Args:
        is_asked: a worker asks for this very run, so that there being nothing to do is no mistake.
    """
    if artifacts is None and is_asked:
        return
    if artifacts is None:
        raise UserError(
            f"{run_dir} holds the complete run '{record.job_name}'; use another --job-name, or --restart to start over"
        )
    console.print(
        f"'{record.job_name}' is complete; its files are in {run_dir} and {artifacts.upload(run_dir)}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
