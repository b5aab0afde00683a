"""`receipt-trainer watch`: a job as it trains, with its curves."""

from __future__ import annotations

from typing import Final

import click

from receipt_trainer.aws import clients
from receipt_trainer.aws.prices import ListPrices
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli.options import jobs_table_option, timeout_option
from receipt_trainer.cli.render import tables
from receipt_trainer.cli.render.jobs import ended_text
from receipt_trainer.cli.render.watch import JsonScreen, open_screen, print_view
from receipt_trainer.cli.stack import stack_options
from receipt_trainer.jobs.rows import job_id_of
from receipt_trainer.jobs.views import POLL_S, JobView, LiveJob, follow_job, newest

EXIT_STOPPED: Final = 130
"""Ctrl-C, as shells count it."""


@click.command("watch")
@stack_options
@jobs_table_option
@click.argument("job", required=False)
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.5, 3600),
    default=POLL_S,
    show_default=True,
    metavar="S",
    help="Seconds between two looks.",
)
@timeout_option("watch")
@click.option("--once", is_flag=True, help="Look once.")
@click.option("--json", "as_json", is_flag=True, help="Print an object a look, one a line.")
def command(table: str, job: str | None, interval_s: float, timeout_s: float, once: bool, as_json: bool) -> None:
    """Watch JOB train: state, curves, pace, dollars, log. Exit code 1 if it did not succeed.

    JOB is an id, at least 6 characters of it, or a name; by default the newest job that runs. Ctrl-C ends the display,
    not the job. Where the output is not a terminal, news is printed line by line.
    """
    client = clients.dynamodb()
    job_id = newest(client, table) if job is None else job_id_of(client, table, job)
    live = LiveJob(client, table, job_id, ListPrices().of_row)
    if once:
        view = live.look(utc_now())
        if as_json:
            JsonScreen().show(view)
        else:
            print_view(tables.console(), view)
    elif as_json:
        conclude(job_id, follow_job(live, JsonScreen(), interval_s=interval_s, timeout_s=timeout_s))
    else:
        with open_screen(tables.console()) as screen:
            ended = follow_job(live, screen, interval_s=interval_s, timeout_s=timeout_s)
        conclude(job_id, ended)


def conclude(job_id: str, view: JobView | None) -> None:
    """Say how the watching ended, and end the command so, unless the job has succeeded; None: Ctrl-C."""
    if view is None:
        click.echo(f"no longer watched; job {job_id} continues", err=True)
        raise click.exceptions.Exit(EXIT_STOPPED)
    if view.row["status"] != "SUCCEEDED":
        click.echo(ended_text(view.row), err=True)
        raise click.exceptions.Exit(1)
