"""`receipt-trainer demo`: a complete job on this machine, on an embedded AWS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from receipt_trainer.aws import clients
from receipt_trainer.aws.artifacts import run_prefix
from receipt_trainer.aws.dynamo import Item, Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli.commands.local import NUM_RECEIPTS, stand_up
from receipt_trainer.cli.options import PATH, data_option, program_option
from receipt_trainer.cli.render.watch import open_screen
from receipt_trainer.cli.stack import enter
from receipt_trainer.cli.training import checked_job_name, new_job_name
from receipt_trainer.config.base import parse
from receipt_trainer.config.job_file import LayoutLMJob
from receipt_trainer.config.layoutlm import TrainingConfig
from receipt_trainer.contract import names
from receipt_trainer.contract.job import Resources
from receipt_trainer.contract.run_record import LayoutLMRecord, read_record
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.instances import list_instances
from receipt_trainer.jobs.routing import read_training_defaults
from receipt_trainer.jobs.rows import LOGS, METRICS, rows_of
from receipt_trainer.jobs.submit import new_job, queue_job
from receipt_trainer.jobs.views import LiveJob, follow_job
from receipt_trainer.local.session import Session, ended_by_signals, folder
from receipt_trainer.reports.run_folder import load_run, next_steps
from receipt_trainer.reports.terminal import print_outcome
from receipt_trainer.training.console import say
from receipt_trainer.worker.attempt import run_dir_of

POOL: Final = "cpu"
MODEL: Final = names.WEIGHTS_PACKAGE
TIMEOUT_S: Final = 86_400.0
MAX_WORKERS: Final = 10
"""One after the other, where somebody keeps interrupting them."""
_WORKER_END_S: Final = 90.0


@click.command("demo")
@data_option
@click.option("--epochs", type=float, default=3, help="Passes over the training receipts.")
@click.option("--model", default=MODEL, help="Base model; 'tiny' trains in seconds.")
@click.option("--receipts", type=click.IntRange(2), default=NUM_RECEIPTS, help="How many to generate.")
@click.option("--job-name", help="Default: demo-<time>.")
@click.option("--output-dir", type=PATH, help=f"Run folder ({names.DEFAULT_OUTPUT_ROOT}/JOB).")
@program_option
def command(
    data: str | None,
    epochs: float,
    model: str,
    receipts: int,
    job_name: str | None,
    output_dir: Path | None,
    program: Path | None,
) -> None:
    """The stack, receipts in its table, a job through its queue, a worker, artifacts in S3, a report: no account.

    AWS is a server on the loopback address that ends with the command; the run's folder stays. While the job trains,
    `--stack local` in another terminal means this stack.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    spec = LayoutLMJob(
        family="layoutlm",
        job_name=checked_job_name(job_name or new_job_name("demo")),
        model=model,
        training_config=parse(TrainingConfig, {"num_epochs": epochs}, "--epochs"),
        resources=Resources(pool=POOL),
    )
    run_dir = (output_dir or Path(names.DEFAULT_OUTPUT_ROOT) / spec.job_name).absolute()
    if run_dir.exists() and not (run_dir.is_dir() and not any(run_dir.iterdir())):
        raise UserError(f"{run_dir} is there already; choose another --output-dir or --job-name")
    up = stand_up(program, data, receipts, console)
    with ended_by_signals(), up as session:
        enter(session)
        outputs = session.outputs
        url = outputs.pools[POOL].queue_urls[spec.priority]
        defaults = read_training_defaults(clients.ssm(), outputs.training_parameter)
        job = queue_job(new_job(spec, url, defaults=defaults), outputs.jobs_table)
        say(console, f"job {job.job_id} '{job.name}' is {job.status} in {url.rpartition('/')[2]}")
        _work(job.job_id, session, run_dir, console)
        for one in list_instances(Table(clients.dynamodb(), outputs.instances_table), utc_now()):
            say(console, f"instances table: {one.instance_id} {one.status}: {one.reason or ''}")


def _work(job_id: str, session: Session, run_dir: Path, console: Console) -> None:
    """Start a worker and watch until the job has ended and the worker, idle, is gone; then its report is shown.

    A worker that is interrupted meanwhile (`local interrupt`) is followed by another one, as in the cloud.

    Raises:
        WorldError: the job failed, or a worker ended, and the job neither did nor waits.
    """
    log, live = folder() / "worker.log", LiveJob(Table(clients.dynamodb(), session.outputs.jobs_table), job_id)
    for _ in range(MAX_WORKERS):
        with _worker(log) as worker:
            words = "receipt-trainer watch --stack local, or local interrupt"
            say(console, f"a worker polls the queue; in another terminal: {words}")
            with open_screen(console) as screen:
                view = follow_job(live, screen, timeout_s=TIMEOUT_S, until=lambda: worker.poll() is not None)
            if view is not None and view.has_ended:
                _conclude(view.row, session, run_dir, console)
                try:
                    worker.wait(_WORKER_END_S)
                except subprocess.TimeoutExpired:
                    raise WorldError(f"the worker does not end: {_last_line(log)}") from None
                say(console, _last_line(log))
                return
        say(console, _last_line(log))
        if view is None or view.row["status"] != "INTERRUPTED":
            break
        say(console, "the job is INTERRUPTED and back in its queue; another worker resumes it")
    raise WorldError("the worker ended before its job")


@contextmanager
def _worker(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`start-worker` in a process of its own, which ends when the queue is empty; what it says is in a file."""
    command = [sys.executable, "-m", "receipt_trainer", "start-worker", "--stack", "local", "--idle-timeout", "0"]
    with log.open("wb") as stream:
        worker = subprocess.Popen(
            command,
            env={**os.environ, names.ENV_POOL: POOL},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us: we ask it to save its job
        )
    try:
        yield worker
    finally:
        if worker.poll() is None:
            worker.terminate()
            try:
                worker.wait(_WORKER_END_S)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _conclude(job: Item, session: Session, run_dir: Path, console: Console) -> None:
    """Move the run's files out of the session's folder, which goes with it; show the report, and the job's traces."""
    outputs, job_id = session.outputs, str(job["job_id"])
    found = run_dir_of(Path(session.environment[names.ENV_CHECKPOINTS_DIR]), job_id)
    if found.is_dir():
        run_dir.parent.mkdir(parents=True, exist_ok=True)
        if run_dir.exists():
            run_dir.rmdir()
        shutil.move(found, run_dir)
    if job["status"] != "SUCCEEDED":
        raise WorldError(f"job {job_id} is {job['status']}: {job.get('reason') or 'no reason is known'}")
    run = load_run(run_dir)
    if isinstance(run.record, LayoutLMRecord):
        print_outcome(run.record, console, run.predictions)
    say(console, f"\nfiles: {run_dir}\nreport: {run_dir / names.REPORT_FILE}\n{next_steps(run_dir)}")
    table = Table(clients.dynamodb(), outputs.jobs_table)
    num_metrics, num_logs = (sum(1 for _ in rows_of(table, job_id, kind)) for kind in (METRICS, LOGS))
    s3, bucket, prefix = clients.s3(), outputs.artifacts_bucket, f"{run_prefix(job['name'], job_id)}/"
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    stored = s3.get_object(Bucket=bucket, Key=f"{prefix}{names.RUN_FILE}")["Body"].read()
    say(
        console,
        f"jobs table: job {job_id} {job['status']}, {num_metrics} metric rows, {num_logs} log rows\n"
        f"s3://{bucket}/{prefix}: {len(listed)} objects, {sum(item['Size'] for item in listed) / 1e6:.1f} MB; "
        f"its {names.RUN_FILE} says {read_record(stored).status}",
    )
