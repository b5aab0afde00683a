"""`receipt-trainer jobs`: the jobs there are, newest first."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from receipt_trainer.cli import delivery_show, job_show
from receipt_trainer.cli.stack import given, stack_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table
    from rich.text import Text

KEYS: Final = (
    *("job_id", "name", "status", "attempt", "num_failures", "max_failures", "pool", "priority", "model", "worker_id"),
    *("f1", "reason", "cancel_requested", "description", "tags", "created_at", "updated_at"),
    *("expected_s", "expected_usd", "max_hours", "max_usd", "unreadable", *delivery_show.KEYS),
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


def moment(text: str) -> datetime:
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
    return None if text is None else moment(text)


@click.command("jobs")
@stack_options
@job_show.jobs_table_option
@click.option(
    "--status", type=click.Choice([*job_show.STATUS_STYLES], case_sensitive=False), help="Only in this state."
)
@click.option("--name", metavar="NAME", help="Only jobs of exactly this name.")
@click.option("--pool", metavar="POOL", help="Only jobs of this pool, such as gpu.")
@click.option("--since", callback=_since, metavar="WHEN", help="Only created since: 90m, 12h, 7d, or a date (UTC).")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Jobs to list at most.")
@job_show.json_option
def command(
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
    from receipt_trainer.jobs import find, limits, queue
    from receipt_trainer.jobs.views import read_spent

    wanted, client, now = find.Wanted(status=status, name=name, pool=pool, since=since), clients.dynamodb(), utc_now()
    rows = find.find(client, table, wanted, limit + 1)
    spent = read_spent(client, table, rows[:limit], now)
    shown = [
        row | limits.of_row(row) | {"spent_s": spent[row["job_id"]].seconds, "spent_usd": spent[row["job_id"]].usd}
        for row in rows[:limit]
    ]
    if as_json:
        job_show.print_json([job_show.public(row, (*KEYS, *SPENT)) for row in shown])
    elif shown:
        console = job_show.console()
        console.print(_table(shown, now, narrow=console.width < _NARROW_BELOW))
        for look in queue.read_short(client, table, now):
            click.echo(queue.promise(look, given()), err=True)
    else:
        click.echo("no such job", err=True)
    if len(rows) > limit:
        click.echo(f"there are more than these {limit}: --limit N lists more", err=True)


def _table(rows: Sequence[dict[str, Any]], now: datetime, narrow: bool) -> Table:
    length = id_length([row["job_id"] for row in rows])
    names = _NARROW if narrow else _WIDE
    shown = job_show.table(*names, right=("attempts", "failures", "F1", "spent", "expected"))
    for row in rows:
        cells = _cells(row, now, length, narrow)
        shown.add_row(*(cells[name] for name in names))
    return shown


def _cells(row: dict[str, Any], now: datetime, length: int, narrow: bool) -> dict[str, Text]:
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
        "created": job_show.ago(row["created_at"], now) if narrow else job_show.when(row["created_at"], now),
        "changed": job_show.ago(row.get("updated_at"), now),
        "reason": formatting.one_line(delivery_show.short(row, now) or row.get("reason") or "", 60),
    }
    state = job_show.state_text(row, short=narrow)
    return {name: Text(text) for name, text in texts.items()} | {"state": state}


def _of(row: dict[str, Any]) -> str:
    """The limits behind what is spent."""
    hours, usd = row.get("max_hours"), row.get("max_usd")
    known = [f"{hours:g} h"] if hours is not None else []
    known += [f"${usd:g}"] if usd is not None else []
    return f" of {', '.join(known)}" if known else ""


def amount(seconds: object, usd: object, *, short: bool = False) -> str:
    """Time and dollars as far as they are known; with `short` the dollars alone, or the time where they are unknown."""
    from receipt_trainer.cli.job_details import dollars
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
