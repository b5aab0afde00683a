"""Jobs listed, looked at, followed, watched as they train, cancelled and queued again."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Item, Table
from receipt_trainer.aws.prices import ListPrices
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli import queueing
from receipt_trainer.cli.options import job_argument, jobs_table_option, json_option, limit_options, timeout_option
from receipt_trainer.cli.render import jobs as shown
from receipt_trainer.cli.render import tables
from receipt_trainer.cli.render.watch import JsonScreen, open_screen, print_view
from receipt_trainer.cli.stack import given, local_session, stack_options
from receipt_trainer.contract.names import ENV_INSTANCES_TABLE
from receipt_trainer.jobs import limits as job_limits
from receipt_trainer.jobs import queue
from receipt_trainer.jobs.curves import latest, read_curves
from receipt_trainer.jobs.instances import list_instances
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.rows import Wanted, find, get_job, job_id_of, spec_of
from receipt_trainer.jobs.submit import retry_job
from receipt_trainer.jobs.views import (
    POLL_S,
    JobView,
    LiveJob,
    LogTail,
    follow_job,
    follow_log,
    newest,
    read_past,
    read_spent,
)

_INTERVAL: Final = click.FloatRange(0.5, 3600)
EXIT_STOPPED: Final = 130
"""Ctrl-C, as shells count it."""
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_since(text: str) -> datetime:
    """A time in the past: an age such as 90m, 12h or 7d, or a date, with a time of day if wanted (UTC).

    Raises:
        click.BadParameter: it is neither.
    """
    try:
        if match := re.fullmatch(r"(\d{1,9})([smhdw])", text, flags=re.ASCII):
            return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        allowed = "an age such as 90m, 12h or 7d, or a date such as 2026-11-20 or 2026-11-20T18:00"
        raise click.BadParameter(f"'{text}': must be {allowed}") from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


@click.command("jobs")
@stack_options
@jobs_table_option
@click.option("--status", type=click.Choice([*shown.STATUS_STYLES], case_sensitive=False), help="Only in this state.")
@click.option("--name", metavar="NAME", help="Only jobs of exactly this name.")
@click.option("--pool", metavar="POOL", help="Only jobs of this pool, such as gpu.")
@click.option(
    "--since",
    type=parse_since,
    metavar="WHEN",
    help="Only created since: 90m, 12h, 7d, or a date (UTC).",
)
@click.option("--limit", type=click.IntRange(1), default=20, help="Jobs to list at most.")
@json_option
def list_command(table: str, limit: int, as_json: bool, **wanted: Any) -> None:
    """List jobs, newest first."""
    jobs, now = Table(clients.dynamodb(), table), utc_now()
    found = find(jobs, Wanted(**wanted), limit + 1)
    spent = read_spent(jobs, found[:limit], now)
    rows = [
        row | job_limits.of_row(row) | {"spent_s": spent[row["job_id"]].seconds, "spent_usd": spent[row["job_id"]].usd}
        for row in found[:limit]
    ]
    if as_json:
        tables.print_json([shown.public(row, (*shown.LIST_KEYS, *shown.SPENT)) for row in rows])
    elif rows:
        shown.print_jobs(tables.console(), rows, now)
        for look in queue.read_short(jobs, now):
            click.echo(queue.promise(look, given()), err=True)
    else:
        click.echo("no such job", err=True)
    if len(found) > limit:
        click.echo(f"there are more than these {limit}: --limit N lists more", err=True)


@click.command("job-status")
@stack_options
@jobs_table_option
@job_argument
@json_option
def status_command(table: str, job: str, as_json: bool) -> None:
    """Show the state of JOB: its id, at least 6 characters of it, or its name."""
    jobs = Table(clients.dynamodb(), table)
    job_id = job_id_of(jobs, job)
    row = get_job(jobs, job_id)
    points = {name: latest(jobs, job_id, name) for name in shown.METRICS}
    known = {name: point for name, point in points.items() if point is not None}
    log = LogTail(jobs, job_id).last(1)
    if as_json:
        said: dict[str, Any] = shown.public(row | job_limits.of_row(row), shown.STATUS_KEYS)
        said["last_metrics"] = {name: asdict(point) for name, point in known.items()}
        tables.print_json(said | {"last_log": log[0].message if log else None})
    else:
        shown.print_status(tables.console(), row, known, log, utc_now())


@click.command("job-details")
@stack_options
@jobs_table_option
@job_argument
@json_option
def details_command(table: str, job: str, as_json: bool) -> None:
    """Show all that is known of JOB: spec, attempts with reasons, changes of state, curves, cost, artifacts.

    JOB is an id, at least 6 characters of it, or a name.
    """
    jobs, now = Table(clients.dynamodb(), table), utc_now()
    job_id = job_id_of(jobs, job)
    row = get_job(jobs, job_id)
    past = read_past(jobs, job_id, now, ListPrices().of_row)
    curves = read_curves(jobs, job_id)
    if as_json:
        said: dict[str, Any] = shown.public(row | job_limits.of_row(row), shown.STATUS_KEYS)
        said |= {"spec": spec_of(row), "attempts": past.attempts, "transitions": past.transitions}
        said |= {"checkpoints": past.checkpoints, "cost": asdict(past.cost)}
        said["metrics"] = {name: [asdict(point) for point in points] for name, points in curves.items()}
        tables.print_json(said)
    else:
        shown.print_details(tables.console(), row, past, curves, now)


@click.command("logs")
@stack_options
@jobs_table_option
@job_argument
@click.option("--follow", "-f", is_flag=True, help="Wait for more until the job has ended; exit code 1 if it failed.")
@click.option("--lines", "-n", type=click.IntRange(0), metavar="N", help="Begin with the last N lines; by default all.")
@timeout_option("follow at most")
@json_option
def logs_command(table: str, job: str, follow: bool, lines: int | None, timeout_s: float, as_json: bool) -> None:
    """Print the log of JOB: its id, at least 6 characters of it, or its name. --json prints an object a line."""
    jobs = Table(clients.dynamodb(), table)
    job_id = job_id_of(jobs, job)
    tail = LogTail(jobs, job_id)
    show = shown.print_log_json if as_json else shown.log_printer()
    if not follow:
        show(tail.more() if lines is None else tail.last(lines))
        return
    row = follow_log(lambda: get_job(jobs, job_id), tail, show, lines=lines, timeout_s=timeout_s)
    if row["status"] != "SUCCEEDED":
        click.echo(shown.ended_text(row), err=True)
        raise click.exceptions.Exit(1)


@click.command("cancel")
@stack_options
@jobs_table_option
@job_argument
@json_option
def cancel_command(table: str, job: str, as_json: bool) -> None:
    """End JOB: its id, at least 6 characters of it, or its name.

    A waiting job is CANCELLED at once, a running one by its worker at the next heartbeat.
    """
    jobs = Table(clients.dynamodb(), table)
    cancelled = JobTable(*jobs).cancel(job_id_of(jobs, job))
    if as_json:
        tables.print_json(shown.steered(cancelled))
    elif cancelled.status == "CANCELLED":
        click.echo(f"job {cancelled.job_id} is CANCELLED")
    else:
        click.echo(f"job {cancelled.job_id} is {cancelled.status}; its worker ends it at its next heartbeat")


@click.command("retry")
@stack_options
@jobs_table_option
@job_argument
@limit_options
@json_option
def retry_command(table: str, job: str, max_hours: float | None, max_usd: float | None, as_json: bool) -> None:
    """Queue JOB, which is FAILED or CANCELLED, again: its id, at least 6 characters of it, or its name.

    It resumes from its last checkpoint. A complete run that is not delivered, or is held, is delivered at once, and not
    trained again. Of another job that waits only the message is sent again. The pool is asked for an instance, unless
    it has one for each job. A job that was stopped at a limit needs a higher one.
    """
    jobs, limits = Table(clients.dynamodb(), table), job_limits.Limits(max_hours, max_usd)
    queued = retry_job(job_id_of(jobs, job), limits=limits, jobs_table=table, dynamodb=jobs.client)
    launched = queueing.launch(queued.pool, table, [queued.job_id])
    if as_json:
        said = shown.steered(queued) | {"checkpoints_gone_at": queued.checkpoints_gone_at}
        tables.print_json(said | {"launch": launched.as_json() if launched else None})
        return
    click.echo(f"job {queued.job_id} is {queued.status}, and in the queue")
    if queued.checkpoints_gone_at is not None:
        click.echo(f"its checkpoints are gone since {queued.checkpoints_gone_at[:10]}: it starts at step 0")
    queueing.say_launched(launched)


@click.command("watch")
@stack_options
@jobs_table_option
@click.argument("job", required=False)
@click.option(
    "--interval", "interval_s", type=_INTERVAL, default=POLL_S, metavar="S", help="Seconds between two looks."
)
@timeout_option("watch at most")
@click.option("--once", is_flag=True, help="Look once.")
@click.option("--json", "as_json", is_flag=True, help="Print an object a look, one a line.")
def watch_command(table: str, job: str | None, interval_s: float, timeout_s: float, once: bool, as_json: bool) -> None:
    """Watch JOB train: state, curves, pace, dollars, log. Exit code 1 if it did not succeed.

    JOB is an id, at least 6 characters of it, or a name; by default the newest job that runs. Ctrl-C ends the display,
    not the job. Where the output is not a terminal, news is printed line by line.
    """
    jobs = Table(clients.dynamodb(), table)
    job_id = newest(jobs) if job is None else job_id_of(jobs, job)
    live = LiveJob(jobs, job_id, ListPrices().of_row, lambda row, now: _waits(jobs, row, now))
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


_MANY: Final = 100


def _waits(table: Table, row: Item, now: datetime) -> str:
    """How many jobs are before a waiting one, whether a worker is there, and what to do if none is."""
    waiting = find(table, Wanted(status="PENDING", pool=row.get("pool")), _MANY)
    mine = (row.get("priority") != "high", row["created_at"])
    ahead = sum(
        one["job_id"] != row["job_id"] and (one.get("priority") != "high", one["created_at"]) < mine for one in waiting
    )
    said = f"{tables.counted(ahead, 'job')} ahead" if ahead < _MANY - 1 else f"{_MANY} jobs ahead or more"
    instances = os.environ.get(ENV_INSTANCES_TABLE)
    if not instances:
        return said
    there = [one for one in list_instances(Table(table.client, instances), now) if not one.is_gone]
    alive = [one for one in there if not one.is_late(now) and one.pool in (None, row.get("pool"))]
    if alive:
        return f"{said}; {tables.counted(len(alive), 'worker')} there"
    start = f"receipt-trainer start-worker{given()}" if local_session() else f"receipt-trainer fleet{given()} shows it"
    return f"{said}; no worker is running: {start}"


def conclude(job_id: str, view: JobView | None) -> None:
    """Say how the watching ended, and end the command so, unless the job has succeeded; None: Ctrl-C."""
    if view is None:
        click.echo(f"no longer watched; job {job_id} continues", err=True)
        raise click.exceptions.Exit(EXIT_STOPPED)
    if view.row["status"] != "SUCCEEDED":
        click.echo(shown.ended_text(view.row), err=True)
        raise click.exceptions.Exit(1)
