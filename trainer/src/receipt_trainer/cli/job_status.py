"""`receipt-trainer job-status`: where a job stands, at a glance."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from receipt_trainer.cli import delivery_show, job_show, jobs_list
from receipt_trainer.cli.stack import stack_options

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from receipt_trainer.jobs.metrics import Point
    from receipt_trainer.jobs.views import Line

KEYS: Final = (*jobs_list.KEYS, "lease_expires_at", "artifacts")
"""Of the job in `--json`; beside them are `last_metrics` and `last_log`."""
_METRICS: Final = {"loss": "training loss", "eval_loss": "validation loss", "eval_f1": "validation F1"}


@click.command("job-status")
@stack_options
@job_show.jobs_table_option
@job_show.job_argument
@job_show.json_option
def command(table: str, job: str, as_json: bool) -> None:
    """Say where JOB stands: its id, at least 6 characters of it, or its name."""
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.server_time import utc_now
    from receipt_trainer.jobs import limits, metrics
    from receipt_trainer.jobs.find import job_id_of
    from receipt_trainer.jobs.rows import get_job
    from receipt_trainer.jobs.views import LogTail

    client = clients.dynamodb()
    job_id = job_id_of(client, table, job)
    row = get_job(client, table, job_id)
    points = {name: metrics.latest(client, table, job_id, name) for name in _METRICS}
    known = {name: point for name, point in points.items() if point is not None}
    log = LogTail(client, table, job_id).last(1)
    if as_json:
        said: dict[str, Any] = job_show.public(row | limits.of_row(row), KEYS)
        said["last_metrics"] = {name: asdict(point) for name, point in known.items()}
        said["last_log"] = log[0].message if log else None
        job_show.print_json(said)
        return
    console, now = job_show.console(), utc_now()
    print_title(console, row)
    print_lines(console, facts(row, now) + _progress(known, log, now))


def print_title(console: Console, row: dict[str, Any]) -> None:
    """Name, id and state of a job."""
    from rich.text import Text

    from receipt_trainer.reports import formatting

    title = Text(formatting.one_line(row["name"]), style="bold")
    console.print(title.append(f"  {row['job_id']}", style="not bold dim"))
    state = job_show.state_text(row)
    known = [f"attempt {row['attempt']}"] if row.get("attempt") else []
    known += [f"{name} {row[name]}" for name in ("pool", "priority") if row.get(name)]
    if isinstance(row.get("f1"), int | float):
        known.append(f"F1 {formatting.score(row['f1'])}")
    console.print(state.append("".join(f" · {formatting.one_line(fact)}" for fact in known), style="not dim default"))


def facts(row: dict[str, Any], now: datetime) -> list[tuple[str, str]]:
    """When a job was made, who runs it, what went wrong, where its results are."""
    from receipt_trainer.contract.cost import moment
    from receipt_trainer.jobs import limits
    from receipt_trainer.jobs.limits import Limits

    lines = [("created", job_show.when(row["created_at"], now))]
    if row.get("updated_at"):
        lines.append(("changed", job_show.when(row["updated_at"], now)))
    if row.get("worker_id") and row["status"] in ("CLAIMED", "RUNNING"):
        until = row.get("lease_expires_at")
        ran_out = (moment(until) or now) < now
        lease = "its lease ran out" if ran_out else "lease until"
        lines.append(("worker", f"{row['worker_id']}, {lease} {job_show.when(until, now)}"))
    if row.get("expected_s") is not None:
        lines.append(("expected", f"{jobs_list.amount(row['expected_s'], row.get('expected_usd'))}, boot not in it"))
    if bounds := Limits.read(limits.of_row(row)):
        lines.append(("stops at", bounds.text()))
    if row.get("checkpoints_gone_at"):
        lines.append(("checkpoints", f"deleted {job_show.when(row['checkpoints_gone_at'], now)}"))
    if row.get("num_failures"):
        lines.append(("failures", f"{row['num_failures']} of {row.get('max_failures', '?')}"))
    if told := delivery_show.lines(row, now):
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
        (_METRICS[name], f"{point.value:.4f} at step {point.step:,}, {job_show.ago(point.timestamp, now)}")
        for name, point in metrics.items()
    ]
    return numbers + [("last log line", f"{line.message} ({job_show.ago(line.timestamp, now)})") for line in log]
