"""`receipt-trainer cancel`: end a job."""

from __future__ import annotations

import click

from receipt_trainer.cli import job_show
from receipt_trainer.cli.stack import stack_options


@click.command("cancel")
@stack_options
@job_show.jobs_table_option
@job_show.job_argument
@job_show.json_option
def command(table: str, job: str, as_json: bool) -> None:
    """End JOB: its id, at least 6 characters of it, or its name.

    A waiting job is CANCELLED at once, a running one by its worker at the next heartbeat.
    """
    from receipt_trainer.aws import clients
    from receipt_trainer.jobs.find import job_id_of
    from receipt_trainer.jobs.repository import JobTable

    client = clients.dynamodb()
    cancelled = JobTable(client, table).cancel(job_id_of(client, table, job))
    if as_json:
        job_show.print_json(job_show.steered(cancelled))
    elif cancelled.status == "CANCELLED":
        click.echo(f"job {cancelled.job_id} is CANCELLED")
    else:
        click.echo(f"job {cancelled.job_id} is {cancelled.status}; its worker ends it at its next heartbeat")
