"""`receipt-trainer logs`: the log of a job, and with `--follow` what comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import click

from receipt_trainer.cli import delivery_show, job_show
from receipt_trainer.cli.stack import stack_options

if TYPE_CHECKING:
    from receipt_trainer.aws.dynamo import Item
    from receipt_trainer.jobs.views import Line, LogTail

POLL_S: Final = 2.0
_STYLES: Final = {"warning": "yellow", "error": "red", "critical": "red"}

Show = Callable[["Iterable[Line]"], None]


@click.command("logs")
@stack_options
@job_show.jobs_table_option
@job_show.job_argument
@click.option("--follow", "-f", is_flag=True, help="Go on until the job has ended; exit code 1 if it did not succeed.")
@click.option("--lines", "-n", type=click.IntRange(0), metavar="N", help="Begin with the last N lines; by default all.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=86400.0,
    show_default=True,
    metavar="S",
    help="Seconds to follow at most.",
)
@job_show.json_option
def command(table: str, job: str, follow: bool, lines: int | None, timeout_s: float, as_json: bool) -> None:
    """Print the log of JOB: its id, at least 6 characters of it, or its name. --json prints an object a line."""
    from receipt_trainer.aws import clients
    from receipt_trainer.jobs.find import job_id_of
    from receipt_trainer.jobs.rows import get_job
    from receipt_trainer.jobs.views import LogTail

    client = clients.dynamodb()
    job_id = job_id_of(client, table, job)
    tail = LogTail(client, table, job_id)
    show = _show_json if as_json else _shower()
    if not follow:
        show(tail.more() if lines is None else tail.last(lines))
        return
    row = follow_log(lambda: get_job(client, table, job_id), tail, show, lines=lines, timeout_s=timeout_s)
    if row["status"] != "SUCCEEDED":
        click.echo(delivery_show.ended(row), err=True)
        raise click.exceptions.Exit(1)


def follow_log(
    read_job: Callable[[], Item],
    tail: LogTail,
    show: Show,
    *,
    lines: int | None = None,
    timeout_s: float,
    poll_s: float = POLL_S,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Item:
    """Show a log until its job has ended or `timeout_s` is over; the job's row as it was then.

    Args:
        read_job: the job's row now.
        tail: where the lines come from.
        show: takes new lines.
        lines: how many of those already there are shown; None shows all.
        timeout_s: seconds to follow at most.
        poll_s: seconds between two readings.
        monotonic: a clock in seconds.
        sleep: waits so many seconds.
    """
    from receipt_trainer.jobs.state_machine import is_over

    deadline = monotonic() + timeout_s
    row = read_job()  # before the log: what an ended job has written is in the reading that follows
    show(tail.more() if lines is None else tail.last(lines))
    while not is_over(row) and (left_s := deadline - monotonic()) > 0:
        sleep(min(poll_s, left_s))
        row = read_job()
        show(tail.more())
    return row


def _show_json(lines: Iterable[Line]) -> None:
    import json

    for line in lines:
        said = {"timestamp": line.timestamp, "level": line.level, "message": line.message, "attempt": line.attempt}
        click.echo(json.dumps(said, ensure_ascii=False))


def _shower() -> Show:
    from rich.text import Text

    from receipt_trainer.reports.formatting import printable

    console = job_show.console()
    attempt: int | None = None

    def show(lines: Iterable[Line]) -> None:
        nonlocal attempt
        for line in lines:
            if line.attempt is not None and line.attempt != attempt:
                attempt = line.attempt
                console.print(Text(f"attempt {attempt}", style="bold"))
            said: Any = Text(f"{_second(line.timestamp)} ", style="dim")
            said.append(printable(line.message), style=_STYLES.get(line.level, "not dim default"))
            console.print(said, soft_wrap=True)

    return show


def _second(timestamp: str) -> str:
    """A stored time in UTC to the second, as ISO 8601 writes it."""
    return f"{timestamp[:19]}Z" if timestamp.endswith("+00:00") else timestamp
