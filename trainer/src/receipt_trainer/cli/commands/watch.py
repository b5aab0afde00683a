"""`receipt-trainer watch`: a job as it trains, with its curves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from receipt_trainer.cli.render import jobs, tables
from receipt_trainer.cli.stack import stack_options

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.client import DynamoDBClient

    from receipt_trainer.jobs.views import JobView, LiveJob

INTERVAL_S: Final = 2.0
MAX_FAULTS: Final = 5
"""Looks in a row that may fail: a network that is gone for a moment is no reason to end."""
NUM_CANDIDATES: Final = 20
"""Jobs of a state that are looked at for one that is not held."""
EXIT_STOPPED: Final = 130
"""Ctrl-C, as shells count it."""


class Screen(Protocol):
    """Where a job is shown: `watch_screen.open_screen` opens one."""

    def show(self, view: JobView) -> None:
        """Take the job as it is now."""

    def note(self, text: str) -> None:
        """Say why there is nothing new."""


@click.command("watch")
@stack_options
@tables.jobs_table_option
@click.argument("job", required=False)
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.5, 3600),
    default=INTERVAL_S,
    show_default=True,
    metavar="S",
    help="Seconds between two looks.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=86400.0,
    show_default=True,
    metavar="S",
    help="Seconds to watch at most.",
)
@click.option("--once", is_flag=True, help="Look once.")
@click.option("--json", "as_json", is_flag=True, help="Print an object a look, one a line.")
def command(table: str, job: str | None, interval_s: float, timeout_s: float, once: bool, as_json: bool) -> None:
    """Watch JOB train: state, curves, pace, dollars, log. Exit code 1 if it did not succeed.

    JOB is an id, at least 6 characters of it, or a name; by default the newest job that runs. Ctrl-C ends the watching,
    not the job. Where the output is no terminal, what is new is printed line by line.
    """
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.prices import ListPrices
    from receipt_trainer.aws.server_time import utc_now
    from receipt_trainer.cli.render.watch import open_screen, print_view
    from receipt_trainer.jobs.rows import job_id_of
    from receipt_trainer.jobs.views import LiveJob

    client = clients.dynamodb()
    job_id = newest(client, table) if job is None else job_id_of(client, table, job)
    live = LiveJob(client, table, job_id, ListPrices().of_row)
    if once:
        view = live.look(utc_now())
        if as_json:
            click.echo(_json_line(view))
        else:
            print_view(tables.console(), view)
        return
    if as_json:
        ended = follow(live, _JsonLines(), interval_s=interval_s, timeout_s=timeout_s)
    else:
        with open_screen(tables.console()) as screen:
            ended = follow(live, screen, interval_s=interval_s, timeout_s=timeout_s)
    conclude(job_id, ended)


def conclude(job_id: str, view: JobView | None) -> None:
    """Say how the watching ended, and end the command so, unless the job has succeeded; None: Ctrl-C."""
    if view is None:
        click.echo(f"not watched any more; job {job_id} goes on", err=True)
        raise click.exceptions.Exit(EXIT_STOPPED)
    if view.row["status"] != "SUCCEEDED":
        click.echo(jobs.ended(view.row), err=True)
        raise click.exceptions.Exit(1)


def newest(client: DynamoDBClient, table: str) -> str:
    """The id of the newest job that runs; if none does, of the newest that is about to.

    Raises:
        UserError: no job runs or waits.
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """
    from receipt_trainer.errors import UserError
    from receipt_trainer.jobs.rows import Wanted, find
    from receipt_trainer.jobs.state_machine import is_held

    for status in ("RUNNING", "CLAIMED", "INTERRUPTED", "PENDING"):
        found = [row for row in find(client, table, Wanted(status=status), NUM_CANDIDATES) if not is_held(row)]
        if found:
            return str(found[0]["job_id"])
    raise UserError("no job runs or waits; name the one to watch: receipt-trainer jobs lists them")


def follow(
    live: LiveJob,
    screen: Screen,
    *,
    interval_s: float = INTERVAL_S,
    timeout_s: float,
    until: Callable[[], bool] = lambda: False,
    now: Callable[[], datetime] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> JobView | None:
    """Show a job until it has ended or `timeout_s` is over; the last view, None after Ctrl-C.

    Args:
        live: reads the job.
        screen: shows it.
        interval_s: seconds between two looks.
        timeout_s: seconds to go on at most.
        until: ends it early, after one more look.
        now: the time of day.
        monotonic: a clock in seconds.
        sleep: waits so many seconds.

    Raises:
        UserError, WorldError: the job could not be read, several times in a row.
    """
    from receipt_trainer.aws.server_time import utc_now
    from receipt_trainer.errors import WorldError

    deadline, num_faults = monotonic() + timeout_s, 0
    try:
        while True:
            is_last = until()
            try:
                view = live.look((now or utc_now)())
            except WorldError as error:
                num_faults += 1
                if num_faults == MAX_FAULTS or is_last:
                    raise
                screen.note(str(error))
            else:
                num_faults = 0
                screen.show(view)
                if view.has_ended or is_last or monotonic() >= deadline:
                    return view
            sleep(max(0.0, min(interval_s, deadline - monotonic())))
    except KeyboardInterrupt:
        return None


def _json_line(view: JobView) -> str:
    from dataclasses import asdict

    from receipt_trainer.cli.commands import jobs
    from receipt_trainer.jobs.views import last_value

    said: dict[str, Any] = {"at": view.at.isoformat(timespec="seconds"), **tables.public(view.row, jobs.LIST_KEYS)}
    said |= {"pace": asdict(view.pace), "cost": asdict(view.cost), "attempts": view.attempts}
    last = {name: last_value(points) for name, points in view.curves.items()}
    said["last_metrics"] = {name: asdict(point) for name, point in last.items() if point is not None}
    said["log"] = [asdict(line) for line in view.new_lines]
    return json.dumps(tables.plain(said), ensure_ascii=False)


class _JsonLines:
    """A `Screen` for scripts."""

    def show(self, view: JobView) -> None:
        click.echo(_json_line(view))

    def note(self, text: str) -> None:
        click.echo(f"warning: {text}", err=True)
