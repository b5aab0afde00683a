"""`receipt-trainer job-details`: all that is known of a job."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from receipt_trainer.cli import job_show, job_status
from receipt_trainer.cli.stack import stack_options

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from receipt_trainer.contract.cost import Cost
    from receipt_trainer.jobs.metrics import Point
    from receipt_trainer.jobs.views import Past

_CURVE_WIDTH: Final = 40
_NARROW_BELOW: Final = 110
_CENT: Final = 0.01


@click.command("job-details")
@stack_options
@job_show.jobs_table_option
@job_show.job_argument
@job_show.json_option
def command(table: str, job: str, as_json: bool) -> None:
    """Show all that is known of JOB: spec, attempts with reasons, changes of state, curves, cost, artifacts.

    JOB is an id, at least 6 characters of it, or a name.
    """
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.prices import ListPrices
    from receipt_trainer.aws.server_time import utc_now
    from receipt_trainer.jobs import limits
    from receipt_trainer.jobs.find import job_id_of
    from receipt_trainer.jobs.metrics import read_curves
    from receipt_trainer.jobs.rows import get_job
    from receipt_trainer.jobs.views import read_past

    client, now = clients.dynamodb(), utc_now()
    job_id = job_id_of(client, table, job)
    row = get_job(client, table, job_id)
    past, curves = read_past(client, table, job_id, now, ListPrices().of_row), read_curves(client, table, job_id)
    if as_json:
        said: dict[str, Any] = job_show.public(row | limits.of_row(row), job_status.KEYS)
        said |= {"spec": spec_of(row), "attempts": past.attempts, "transitions": past.transitions}
        said["checkpoints"] = past.checkpoints
        said |= {"metrics": {name: [asdict(point) for point in points] for name, points in curves.items()}}
        job_show.print_json(said | {"cost": asdict(past.cost)})
        return
    console = job_show.console()
    job_status.print_title(console, row)
    job_status.print_lines(console, [*job_status.facts(row, now), ("cost", cost_text(past.cost))])
    _print_attempts(console, past, now)
    _print_checkpoints(console, past, now)
    _print_transitions(console, past, now)
    _print_curves(console, curves)
    _print_spec(console, spec_of(row))


def spec_of(row: dict[str, Any]) -> dict[str, Any]:
    """The resolved spec of a job; empty where a run without a worker stored none."""
    try:
        spec = json.loads(row.get("spec") or "{}")
    except ValueError:
        return {}
    return spec if isinstance(spec, dict) else {}


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
    narrow = console.width < _NARROW_BELOW
    wide = () if narrow else ("steps", "worker", "instance", "type")
    shown = job_show.table("", "outcome", "started", "took", "cost", *wide, right=("", "took", "cost"))
    for row in past.attempts:
        cells = [
            str(row["attempt"]),
            row["outcome"] or "running",
            job_show.ago(row["started_at"], now) if narrow else job_show.when(row["started_at"], now),
            formatting.duration(row["seconds"]),
            "unknown" if row["usd"] is None else dollars(row["usd"]),
        ]
        if not narrow:
            cells += [_steps(row), *(str(row[key] or "–") for key in ("worker_id", "instance_id", "instance_type"))]
        shown.add_row(*(Text(formatting.one_line(cell, 40)) for cell in cells))
    console.print(shown)
    reasons = [(f"attempt {row['attempt']}", str(row["reason"])) for row in past.attempts if row["reason"]]
    job_status.print_lines(console, reasons)


def _steps(row: dict[str, Any]) -> str:
    ends = (("from", row["start_step"]), ("to", row["checkpoint_step"]))
    return " ".join(f"{name} {step}" for name, step in ends if step is not None) or "–"


def _print_checkpoints(console: Console, past: Past, now: datetime) -> None:
    from rich.text import Text

    from receipt_trainer.reports import formatting

    if not past.checkpoints:
        return
    _heading(console, "Checkpoints")
    shown = job_show.table("step", "epoch", "attempt", "size", "at", right=("step", "epoch", "attempt", "size"))
    for row in past.checkpoints:
        size, epoch = row["size_bytes"], row["epoch"]
        cells = [
            f"{row['step']:,}",
            "–" if epoch is None else f"{epoch:.2f}",
            str(row["attempt"] or "–"),
            "–" if size is None else f"{size / 1e6:,.1f} MB",
            job_show.when(row["at"], now),
        ]
        shown.add_row(*(Text(formatting.one_line(cell, 40)) for cell in cells))
    console.print(shown)


def _print_transitions(console: Console, past: Past, now: datetime) -> None:
    if past.transitions:
        _heading(console, "States")
    lines = []
    for row in past.transitions:
        change = f"{row['from']} -> {row['to']}" if row["from"] else str(row["to"])
        lines.append((job_show.when(row["at"], now), f"{change}{': ' + row['reason'] if row['reason'] else ''}"))
    job_status.print_lines(console, lines)


def _print_curves(console: Console, curves: dict[str, list[Point]]) -> None:
    from rich.text import Text

    from receipt_trainer.reports import formatting
    from receipt_trainer.reports.terminal import sparkline

    if not curves:
        return
    _heading(console, "Curves")
    shown = job_show.table("", "first", "", "last", "lowest", "highest", "step", right=("first", "last", "step"))
    width = _CURVE_WIDTH // 2 if console.width < _NARROW_BELOW else _CURVE_WIDTH
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
            job_status.print_lines(console, known)
