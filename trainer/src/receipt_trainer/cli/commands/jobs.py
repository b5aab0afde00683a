"""Jobs listed, looked at, followed, cancelled and queued again."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from receipt_trainer.cli.render import jobs, tables
from receipt_trainer.cli.stack import given, stack_options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from receipt_trainer.aws.dynamo import Item
    from receipt_trainer.contract.cost import Cost
    from receipt_trainer.jobs.metrics import Point
    from receipt_trainer.jobs.views import Line, LogTail, Past

LIST_KEYS: Final = (
    *("job_id", "name", "status", "attempt", "num_failures", "max_failures", "pool", "priority", "model", "worker_id"),
    *("f1", "reason", "cancel_requested", "description", "tags", "created_at", "updated_at"),
    *("expected_s", "expected_usd", "max_hours", "max_usd", "unreadable", *jobs.KEYS),
)
"""Of each job in `--json`; `SPENT` is beside them."""
SPENT: Final = ("spent_s", "spent_usd")
"""Instance time and dollars of the attempts so far."""
_WIDE: Final = (
    *("id", "name", "state", "pool", "attempts", "failures", "F1", "spent", "expected", "created", "changed", "reason"),
)
_NARROW: Final = ("id", "name", "state", "F1", "spent", "expected", "created")
_NARROW_BELOW: Final = 140
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


def _since(context: click.Context, option: click.Parameter, text: str | None) -> datetime | None:
    return None if text is None else parse_since(text)


@click.command("jobs")
@stack_options
@tables.jobs_table_option
@click.option("--status", type=click.Choice([*tables.STATUS_STYLES], case_sensitive=False), help="Only in this state.")
@click.option("--name", metavar="NAME", help="Only jobs of exactly this name.")
@click.option("--pool", metavar="POOL", help="Only jobs of this pool, such as gpu.")
@click.option("--since", callback=_since, metavar="WHEN", help="Only created since: 90m, 12h, 7d, or a date (UTC).")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Jobs to list at most.")
@tables.json_option
def list_command(
    table: str,
    status: str | None,
    name: str | None,
    pool: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List jobs, newest first."""
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.server_time import utc_now
    from receipt_trainer.jobs import limits, queue
    from receipt_trainer.jobs import rows as find
    from receipt_trainer.jobs.views import read_spent

    wanted, client, now = find.Wanted(status=status, name=name, pool=pool, since=since), clients.dynamodb(), utc_now()
    rows = find.find(client, table, wanted, limit + 1)
    spent = read_spent(client, table, rows[:limit], now)
    shown = [
        row | limits.of_row(row) | {"spent_s": spent[row["job_id"]].seconds, "spent_usd": spent[row["job_id"]].usd}
        for row in rows[:limit]
    ]
    if as_json:
        tables.print_json([tables.public(row, (*LIST_KEYS, *SPENT)) for row in shown])
    elif shown:
        console = tables.console()
        console.print(_list_table(shown, now, narrow=console.width < _NARROW_BELOW))
        for look in queue.read_short(client, table, now):
            click.echo(queue.promise(look, given()), err=True)
    else:
        click.echo("no such job", err=True)
    if len(rows) > limit:
        click.echo(f"there are more than these {limit}: --limit N lists more", err=True)


def _list_table(rows: Sequence[dict[str, Any]], now: datetime, narrow: bool) -> Table:
    length = id_length([row["job_id"] for row in rows])
    names = _NARROW if narrow else _WIDE
    shown = tables.table(*names, right=("attempts", "failures", "F1", "spent", "expected"))
    for row in rows:
        cells = _list_cells(row, now, length, narrow)
        shown.add_row(*(cells[name] for name in names))
    return shown


def _list_cells(row: dict[str, Any], now: datetime, length: int, narrow: bool) -> dict[str, Text]:
    from rich.text import Text

    from receipt_trainer.reports import formatting

    f1, limit = row.get("f1"), row.get("max_failures")
    texts = {
        "id": row["job_id"][:length],
        "name": formatting.one_line(row["name"], 18 if narrow else 40),
        "pool": formatting.one_line(row.get("pool") or "–"),
        "attempts": str(row.get("attempt") or 0),
        "failures": f"{row.get('num_failures') or 0} of {limit}" if limit else "–",
        "F1": formatting.score(f1 if isinstance(f1, int | float) else None),
        "spent": amount(row.get("spent_s") or None, row.get("spent_usd"), short=narrow) + ("" if narrow else _of(row)),
        "expected": amount(row.get("expected_s"), row.get("expected_usd"), short=narrow),
        "created": tables.ago(row["created_at"], now) if narrow else tables.when(row["created_at"], now),
        "changed": tables.ago(row.get("updated_at"), now),
        "reason": formatting.one_line(jobs.short(row, now) or row.get("reason") or "", 60),
    }
    state = tables.state_text(row, short=narrow)
    return {name: Text(text) for name, text in texts.items()} | {"state": state}


def _of(row: dict[str, Any]) -> str:
    """The limits behind what is spent."""
    hours, usd = row.get("max_hours"), row.get("max_usd")
    known = [f"{hours:g} h"] if hours is not None else []
    known += [f"${usd:g}"] if usd is not None else []
    return f" of {', '.join(known)}" if known else ""


def amount(seconds: object, usd: object, *, short: bool = False) -> str:
    """Time and dollars as far as they are known; with `short` the dollars alone, or the time where they are unknown."""
    from receipt_trainer.reports import formatting

    known = []
    if isinstance(seconds, int | float):
        known.append(_rounded(seconds) if short else formatting.duration(float(seconds)))
    if isinstance(usd, int | float):
        known.append(dollars(float(usd)))
    return ", ".join(known[-1:] if short else known) or formatting.NOTHING


def _rounded(seconds: float) -> str:
    """A time in its largest unit."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def id_length(job_ids: Sequence[str], shortest: int = 8) -> int:
    """How much of each id is shown so that all differ."""
    for length in range(shortest, max(map(len, job_ids), default=shortest)):
        if len({job_id[:length] for job_id in job_ids}) == len(set(job_ids)):
            return length
    return max(map(len, job_ids), default=shortest)


STATUS_KEYS: Final = (*LIST_KEYS, "lease_expires_at", "artifacts")
"""Of the job in `--json`; beside them are `last_metrics` and `last_log`."""
_METRICS: Final = {"loss": "training loss", "eval_loss": "validation loss", "eval_f1": "validation F1"}


@click.command("job-status")
@stack_options
@tables.jobs_table_option
@tables.job_argument
@tables.json_option
def status_command(table: str, job: str, as_json: bool) -> None:
    """Say where JOB stands: its id, at least 6 characters of it, or its name."""
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.server_time import utc_now
    from receipt_trainer.jobs import limits, metrics
    from receipt_trainer.jobs.rows import get_job, job_id_of
    from receipt_trainer.jobs.views import LogTail

    client = clients.dynamodb()
    job_id = job_id_of(client, table, job)
    row = get_job(client, table, job_id)
    points = {name: metrics.latest(client, table, job_id, name) for name in _METRICS}
    known = {name: point for name, point in points.items() if point is not None}
    log = LogTail(client, table, job_id).last(1)
    if as_json:
        said: dict[str, Any] = tables.public(row | limits.of_row(row), STATUS_KEYS)
        said["last_metrics"] = {name: asdict(point) for name, point in known.items()}
        said["last_log"] = log[0].message if log else None
        tables.print_json(said)
        return
    console, now = tables.console(), utc_now()
    print_title(console, row)
    print_lines(console, facts(row, now) + _progress(known, log, now))


def print_title(console: Console, row: dict[str, Any]) -> None:
    """Name, id and state of a job."""
    from rich.text import Text

    from receipt_trainer.reports import formatting

    title = Text(formatting.one_line(row["name"]), style="bold")
    console.print(title.append(f"  {row['job_id']}", style="not bold dim"))
    state = tables.state_text(row)
    known = [f"attempt {row['attempt']}"] if row.get("attempt") else []
    known += [f"{name} {row[name]}" for name in ("pool", "priority") if row.get(name)]
    if isinstance(row.get("f1"), int | float):
        known.append(f"F1 {formatting.score(row['f1'])}")
    console.print(state.append("".join(f" · {formatting.one_line(fact)}" for fact in known), style="not dim default"))


def facts(row: dict[str, Any], now: datetime) -> list[tuple[str, str]]:
    """When a job was made, who runs it, what went wrong, where its results are."""
    from receipt_trainer.contract.tables import moment
    from receipt_trainer.jobs import limits
    from receipt_trainer.jobs.limits import Limits

    lines = [("created", tables.when(row["created_at"], now))]
    if row.get("updated_at"):
        lines.append(("changed", tables.when(row["updated_at"], now)))
    if row.get("worker_id") and row["status"] in ("CLAIMED", "RUNNING"):
        until = row.get("lease_expires_at")
        ran_out = (moment(until) or now) < now
        lease = "its lease ran out" if ran_out else "lease until"
        lines.append(("worker", f"{row['worker_id']}, {lease} {tables.when(until, now)}"))
    if row.get("expected_s") is not None:
        lines.append(("expected", f"{amount(row['expected_s'], row.get('expected_usd'))}, boot not in it"))
    if bounds := Limits.read(limits.of_row(row)):
        lines.append(("stops at", bounds.text()))
    if row.get("checkpoints_gone_at"):
        lines.append(("checkpoints", f"deleted {tables.when(row['checkpoints_gone_at'], now)}"))
    if row.get("num_failures"):
        lines.append(("failures", f"{row['num_failures']} of {row.get('max_failures', '?')}"))
    if told := jobs.lines(row, now):
        lines += told
    elif row.get("reason"):
        lines.append(("reason", str(row["reason"])))
    return lines + [(key, str(row[key])) for key in ("artifacts", "description") if row.get(key)]


def print_lines(console: Console, lines: list[tuple[str, str]]) -> None:
    """Names and values, one pair a line; a value that is too long is wrapped."""
    from rich.table import Table
    from rich.text import Text

    from receipt_trainer.reports import formatting

    if not lines:
        return
    shown = Table.grid(padding=(0, 2, 0, 0))
    for name, value in lines:
        shown.add_row(Text(f"  {name}", style="dim"), Text(formatting.one_line(value, 2000)))
    console.print(shown)


def _progress(metrics: dict[str, Point], log: list[Line], now: datetime) -> list[tuple[str, str]]:
    numbers = [
        (_METRICS[name], f"{point.value:.4f} at step {point.step:,}, {tables.ago(point.timestamp, now)}")
        for name, point in metrics.items()
    ]
    return numbers + [("last log line", f"{line.message} ({tables.ago(line.timestamp, now)})") for line in log]


_CURVE_WIDTH: Final = 40
_NARROW_DETAILS_BELOW: Final = 110
_CENT: Final = 0.01


@click.command("job-details")
@stack_options
@tables.jobs_table_option
@tables.job_argument
@tables.json_option
def details_command(table: str, job: str, as_json: bool) -> None:
    """Show all that is known of JOB: spec, attempts with reasons, changes of state, curves, cost, artifacts.

    JOB is an id, at least 6 characters of it, or a name.
    """
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.prices import ListPrices
    from receipt_trainer.aws.server_time import utc_now
    from receipt_trainer.jobs import limits
    from receipt_trainer.jobs.metrics import read_curves
    from receipt_trainer.jobs.rows import get_job, job_id_of, spec_of
    from receipt_trainer.jobs.views import read_past

    client, now = clients.dynamodb(), utc_now()
    job_id = job_id_of(client, table, job)
    row = get_job(client, table, job_id)
    past, curves = read_past(client, table, job_id, now, ListPrices().of_row), read_curves(client, table, job_id)
    if as_json:
        said: dict[str, Any] = tables.public(row | limits.of_row(row), STATUS_KEYS)
        said |= {"spec": spec_of(row), "attempts": past.attempts, "transitions": past.transitions}
        said["checkpoints"] = past.checkpoints
        said |= {"metrics": {name: [asdict(point) for point in points] for name, points in curves.items()}}
        tables.print_json(said | {"cost": asdict(past.cost)})
        return
    console = tables.console()
    print_title(console, row)
    print_lines(console, [*facts(row, now), ("cost", cost_text(past.cost))])
    _print_attempts(console, past, now)
    _print_checkpoints(console, past, now)
    _print_transitions(console, past, now)
    _print_curves(console, curves)
    _print_spec(console, spec_of(row))


def dollars(value: float) -> str:
    """Dollars, cents from ten of them on; less than a cent is no sum that anybody asks for."""
    from receipt_trainer.reports import formatting

    if 0 < value < _CENT:
        return "< $0.01"
    return f"${value:,.2f}" if value >= 0.1 else formatting.dollars(value)


def cost_text(cost: Cost) -> str:
    """Dollars and time of a job, and of how many attempts the price is not known."""
    from receipt_trainer.reports import formatting

    if not cost.num_attempts:
        return "no attempt yet"
    time = f"{formatting.duration(cost.seconds)} of instance time"
    if cost.usd is None:
        return f"unknown ({time}; no price is recorded)"
    said = [time]
    if cost.num_at_list_price:
        said.append(f"{cost.num_at_list_price} of {cost.num_attempts} attempts at today's on-demand list price")
    if cost.num_unknown:
        said.append(f"{cost.num_unknown} of {cost.num_attempts} without a price")
    return f"{least(cost.usd, cost.num_unknown)}{dollars(cost.usd)} ({'; '.join(said)})"


def least(usd: float, num_unknown: int) -> str:
    """`at least ` before a sum that lacks some prices; nothing before `< $0.01`, which would contradict it."""
    return "at least " if num_unknown and not 0 < usd < _CENT else ""


def _heading(console: Console, text: str) -> None:
    from rich.text import Text

    console.print()
    console.print(Text(text, style="bold"))


def _print_attempts(console: Console, past: Past, now: datetime) -> None:
    from rich.text import Text

    from receipt_trainer.reports import formatting

    if not past.attempts:
        return
    _heading(console, "Attempts")
    narrow = console.width < _NARROW_DETAILS_BELOW
    wide = () if narrow else ("steps", "worker", "instance", "type")
    shown = tables.table("", "outcome", "started", "took", "cost", *wide, right=("", "took", "cost"))
    for row in past.attempts:
        cells = [
            str(row["attempt"]),
            row["outcome"] or "running",
            tables.ago(row["started_at"], now) if narrow else tables.when(row["started_at"], now),
            formatting.duration(row["seconds"]),
            "unknown" if row["usd"] is None else dollars(row["usd"]),
        ]
        if not narrow:
            cells += [_steps(row), *(str(row[key] or "–") for key in ("worker_id", "instance_id", "instance_type"))]
        shown.add_row(*(Text(formatting.one_line(cell, 40)) for cell in cells))
    console.print(shown)
    reasons = [(f"attempt {row['attempt']}", str(row["reason"])) for row in past.attempts if row["reason"]]
    print_lines(console, reasons)


def _steps(row: dict[str, Any]) -> str:
    ends = (("from", row["start_step"]), ("to", row["checkpoint_step"]))
    return " ".join(f"{name} {step}" for name, step in ends if step is not None) or "–"


def _print_checkpoints(console: Console, past: Past, now: datetime) -> None:
    from rich.text import Text

    from receipt_trainer.reports import formatting

    if not past.checkpoints:
        return
    _heading(console, "Checkpoints")
    shown = tables.table("step", "epoch", "attempt", "size", "at", right=("step", "epoch", "attempt", "size"))
    for row in past.checkpoints:
        size, epoch = row["size_bytes"], row["epoch"]
        cells = [
            f"{row['step']:,}",
            "–" if epoch is None else f"{epoch:.2f}",
            str(row["attempt"] or "–"),
            "–" if size is None else f"{size / 1e6:,.1f} MB",
            tables.when(row["at"], now),
        ]
        shown.add_row(*(Text(formatting.one_line(cell, 40)) for cell in cells))
    console.print(shown)


def _print_transitions(console: Console, past: Past, now: datetime) -> None:
    if past.transitions:
        _heading(console, "States")
    lines = []
    for row in past.transitions:
        change = f"{row['from']} -> {row['to']}" if row["from"] else str(row["to"])
        lines.append((tables.when(row["at"], now), f"{change}{': ' + row['reason'] if row['reason'] else ''}"))
    print_lines(console, lines)


def _print_curves(console: Console, curves: dict[str, list[Point]]) -> None:
    from rich.text import Text

    from receipt_trainer.reports import formatting
    from receipt_trainer.reports.terminal import sparkline

    if not curves:
        return
    _heading(console, "Curves")
    shown = tables.table("", "first", "", "last", "lowest", "highest", "step", right=("first", "last", "step"))
    width = _CURVE_WIDTH // 2 if console.width < _NARROW_DETAILS_BELOW else _CURVE_WIDTH
    for name, points in curves.items():
        values = [point.value for point in points]
        known = [value for value in values if math.isfinite(value)] or [math.nan]
        ends = [Text(formatting.number(value)) for value in (values[0], values[-1], min(known), max(known))]
        curve = Text(sparkline(values, width), style="cyan")
        shown.add_row(Text(formatting.one_line(name, 30)), ends[0], curve, *ends[1:], Text(f"{points[-1].step:,}"))
    console.print(shown)


def _print_spec(console: Console, spec: dict[str, Any]) -> None:
    """What is set; in a part of the resolved spec null means that nothing is."""
    from receipt_trainer.reports import formatting

    single = {name: value for name, value in spec.items() if not isinstance(value, dict)}
    parts = {"Spec": single} | {name: value for name, value in spec.items() if isinstance(value, dict)}
    for name, values in parts.items():
        known = [(key, formatting.value_text(value)) for key, value in values.items() if value not in (None, "")]
        if known:
            _heading(console, name)
            print_lines(console, known)


POLL_S: Final = 2.0
_STYLES: Final = {"warning": "yellow", "error": "red", "critical": "red"}

Show = Callable[["Iterable[Line]"], None]


@click.command("logs")
@stack_options
@tables.jobs_table_option
@tables.job_argument
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
@tables.json_option
def logs_command(table: str, job: str, follow: bool, lines: int | None, timeout_s: float, as_json: bool) -> None:
    """Print the log of JOB: its id, at least 6 characters of it, or its name. --json prints an object a line."""
    from receipt_trainer.aws import clients
    from receipt_trainer.jobs.rows import get_job, job_id_of
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
        click.echo(jobs.ended(row), err=True)
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

    for line in lines:
        said = {"timestamp": line.timestamp, "level": line.level, "message": line.message, "attempt": line.attempt}
        click.echo(json.dumps(said, ensure_ascii=False))


def _shower() -> Show:
    from rich.text import Text

    from receipt_trainer.reports.formatting import printable

    console = tables.console()
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


@click.command("cancel")
@stack_options
@tables.jobs_table_option
@tables.job_argument
@tables.json_option
def cancel_command(table: str, job: str, as_json: bool) -> None:
    """End JOB: its id, at least 6 characters of it, or its name.

    A waiting job is CANCELLED at once, a running one by its worker at the next heartbeat.
    """
    from receipt_trainer.aws import clients
    from receipt_trainer.jobs.repository import JobTable
    from receipt_trainer.jobs.rows import job_id_of

    client = clients.dynamodb()
    cancelled = JobTable(client, table).cancel(job_id_of(client, table, job))
    if as_json:
        tables.print_json(tables.steered(cancelled))
    elif cancelled.status == "CANCELLED":
        click.echo(f"job {cancelled.job_id} is CANCELLED")
    else:
        click.echo(f"job {cancelled.job_id} is {cancelled.status}; its worker ends it at its next heartbeat")


@click.command("retry")
@stack_options
@tables.jobs_table_option
@tables.job_argument
@tables.limit_options
@tables.json_option
def retry_command(table: str, job: str, max_hours: float | None, max_usd: float | None, as_json: bool) -> None:
    """Queue JOB, which is FAILED or CANCELLED, again: its id, at least 6 characters of it, or its name.

    It goes on from its last checkpoint. A complete run that is not delivered, or is held, is delivered at once, and not
    trained again. Of another job that waits only the message is sent again. The pool is asked for an instance, unless
    it has one for each job. A job that was stopped at a limit needs a higher one.
    """
    from receipt_trainer.aws import clients
    from receipt_trainer.cli import launch
    from receipt_trainer.jobs.limits import Limits
    from receipt_trainer.jobs.rows import job_id_of
    from receipt_trainer.jobs.submit import retry_job

    client = clients.dynamodb()
    limits = Limits(max_hours, max_usd)
    queued = retry_job(job_id_of(client, table, job), limits=limits, jobs_table=table, dynamodb=client)
    launched = launch.launch(queued.pool, table, [queued.job_id])
    if as_json:
        said = tables.steered(queued) | {"checkpoints_gone_at": queued.checkpoints_gone_at}
        tables.print_json(said | {"launch": launched.as_json() if launched else None})
    else:
        click.echo(f"job {queued.job_id} is {queued.status}, and in the queue")
        if queued.checkpoints_gone_at is not None:
            click.echo(f"its checkpoints are gone since {queued.checkpoints_gone_at[:10]}: it starts at step 0")
        launch.say(launched)
