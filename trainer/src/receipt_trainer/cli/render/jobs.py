"""Jobs as tables, lines and JSON: their state, what keeps them, their history, their log."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import click
from rich.console import Console
from rich.text import Text

from receipt_trainer.cli import stack
from receipt_trainer.cli.render import tables
from receipt_trainer.cli.render.tables import dollars, least, print_lines
from receipt_trainer.contract.cost import Cost
from receipt_trainer.contract.tables import moment
from receipt_trainer.jobs import limits
from receipt_trainer.jobs.limits import Limits
from receipt_trainer.jobs.metrics import Point
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.rows import spec_of
from receipt_trainer.jobs.state_machine import is_held
from receipt_trainer.jobs.views import LogLine, Past
from receipt_trainer.reports import formatting
from receipt_trainer.reports.formatting import printable
from receipt_trainer.reports.terminal import sparkline

UNDELIVERED_KEYS: Final = ("undelivered_since", "num_undelivered", "next_try_at", "waits_for", "held_reason")
"""Of a job in `--json`; null where its run is delivered or not complete."""
LIST_KEYS: Final = (
    *("job_id", "name", "status", "attempt", "num_failures", "max_failures", "pool", "priority", "model", "worker_id"),
    *("f1", "reason", "cancel_requested", "description", "tags", "created_at", "updated_at"),
    *("expected_s", "expected_usd", "max_hours", "max_usd", "unreadable", *UNDELIVERED_KEYS),
)
"""Of each job in `--json`; `SPENT` is beside them."""
SPENT: Final = ("spent_s", "spent_usd")
"""Instance time and dollars of the attempts so far."""
STATUS_KEYS: Final = (*LIST_KEYS, "lease_expires_at", "artifacts")
"""Of the job in `--json`; beside them are `last_metrics` and `last_log`."""
STATUS_STYLES: Final = {
    "PENDING": "cyan",
    "CLAIMED": "yellow",
    "RUNNING": "yellow",
    "INTERRUPTED": "magenta",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "CANCELLED": "dim",
}
METRICS: Final = {"loss": "training loss", "eval_loss": "validation loss", "eval_f1": "validation F1"}
_WIDE: Final = (
    *("id", "name", "state", "pool", "attempts", "failures", "F1", "spent", "expected", "created", "changed", "reason"),
)
_NARROW: Final = ("id", "name", "state", "F1", "spent", "expected", "created")
_NARROW_BELOW: Final = 140
_NARROW_DETAILS_BELOW: Final = 110
_CURVE_WIDTH: Final = 40
_SHORT: Final = 13
"""Characters of a state and its note in a narrow table."""
_STYLES: Final = {"warning": "yellow", "error": "red", "critical": "red"}


def public(row: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Those attributes of a stored row that scripts may rely on; one that the row lacks is null."""
    return {key: row.get(key) for key in keys}


def steered(job: Job) -> dict[str, Any]:
    """The job as `cancel --json` and `retry --json` print it."""
    return {"job_id": job.job_id, "status": job.status, "cancel_requested": job.cancel_requested}


def status_text(status: str, note: str = "", *, short: bool = False) -> Text:
    """A state in its colour, with a note in brackets; with `short` the note alone where both need much room."""
    text = f"{status} ({note})" if note else status
    if short and len(text) > _SHORT:
        text = f"({note})"
    return Text(text, style=STATUS_STYLES.get(status, ""))


def state_text(row: Mapping[str, Any], *, short: bool = False) -> Text:
    """A job's state, and what keeps it: it is being cancelled, not delivered, held, or no worker can read its row.

    Args:
        short: for a narrow table, see `status_text`.
    """
    note = "unreadable" if "unreadable" in row else "cancelling" if _stops(row) else undelivered_note(row)
    return status_text(row["status"], note, short=short)


def _stops(row: Mapping[str, Any]) -> bool:
    """Whether a job's cancellation is asked for and not done yet."""
    return bool(row.get("cancel_requested")) and row.get("status") in ("CLAIMED", "RUNNING")


def undelivered_note(row: Mapping[str, Any]) -> str:
    """Text behind the state; empty for every other job."""
    return "held" if is_held(row) else "undelivered" if _waits(row) else ""


def undelivered_lines(row: Mapping[str, Any], now: datetime) -> list[tuple[str, str]]:
    """Names and values, one pair a line; none for every other job."""
    if is_held(row):
        return [
            ("held", str(row["held_reason"])),
            ("undelivered", f"since {tables.when(row.get('undelivered_since'), now)}, {_tries(row)}"),
            ("to do", f"once the cause is gone: receipt-trainer retry{stack.given()} {row['job_id']}"),
        ]
    if not _waits(row):
        return []
    since = f"its run is complete and not delivered since {tables.when(row.get('undelivered_since'), now)}"
    return [
        ("waits for", str(row["waits_for"])),
        ("undelivered", f"{since}, {_tries(row)}"),
        ("next try", _next_try(row, now)),
    ]


def undelivered_text(row: Mapping[str, Any], now: datetime | None = None) -> str:
    """The same in one line; empty for every other job."""
    if is_held(row):
        return f"held; receipt-trainer retry{stack.given()} {row['job_id']} delivers it: {row['held_reason']}"
    if _waits(row):
        next_try = f"; next try {_next_try(row, now)}" if now is not None else ""
        return f"complete, not delivered{next_try}: {row['waits_for']}"
    return ""


def ended_text(row: Mapping[str, Any]) -> str:
    """How a job ended, or why no worker resumes it, in one line."""
    if is_held(row):
        return f"job {row['job_id']} is {undelivered_text(row)}"
    return f"job {row['job_id']} is {row['status']}{': ' if row.get('reason') else ''}{row.get('reason') or ''}"


def _waits(row: Mapping[str, Any]) -> bool:
    """Whether a job waits for the next try, or for a worker that makes it."""
    is_waiting = row.get("status") in ("INTERRUPTED", "PENDING") and not is_held(row)
    return is_waiting and bool(row.get("waits_for")) and not row.get("unreadable")


def _tries(row: Mapping[str, Any]) -> str:
    number = row.get("num_undelivered") or 0
    return f"{number} tries failed" if number != 1 else "1 try failed"


def _next_try(row: Mapping[str, Any], now: datetime) -> str:
    """When a job that waits is tried again."""
    at = moment(row.get("next_try_at"))
    return tables.when(row["next_try_at"], now) if at is not None and at > now else "as soon as a worker takes it"


def print_jobs(console: Console, rows: Sequence[dict[str, Any]], now: datetime) -> None:
    """A row a job; a narrow terminal gets fewer columns."""
    narrow = console.width < _NARROW_BELOW
    length = id_length([row["job_id"] for row in rows])
    names = _NARROW if narrow else _WIDE
    shown = tables.table(*names, right=("attempts", "failures", "F1", "spent", "expected"))
    for row in rows:
        cells = _row_cells(row, now, length, narrow)
        shown.add_row(*(cells[name] for name in names))
    console.print(shown)


def _row_cells(row: dict[str, Any], now: datetime, length: int, narrow: bool) -> dict[str, Text]:
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
        "reason": formatting.one_line(undelivered_text(row, now) or row.get("reason") or "", 60),
    }
    state = state_text(row, short=narrow)
    return {name: Text(text) for name, text in texts.items()} | {"state": state}


def _of(row: dict[str, Any]) -> str:
    """The limits behind what is spent."""
    hours, usd = row.get("max_hours"), row.get("max_usd")
    known = [f"{hours:g} h"] if hours is not None else []
    known += [f"${usd:g}"] if usd is not None else []
    return f" of {', '.join(known)}" if known else ""


def amount(seconds: object, usd: object, *, short: bool = False) -> str:
    """Time and dollars as far as they are known; with `short` the dollars alone, or the time where they are unknown."""
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


def _print_title(console: Console, row: dict[str, Any]) -> None:
    """Name, id and state of a job."""
    title = Text(formatting.one_line(row["name"]), style="bold")
    console.print(title.append(f"  {row['job_id']}", style="not bold dim"))
    state = state_text(row)
    known = [f"attempt {row['attempt']}"] if row.get("attempt") else []
    known += [f"{name} {row[name]}" for name in ("pool", "priority") if row.get(name)]
    if isinstance(row.get("f1"), int | float):
        known.append(f"F1 {formatting.score(row['f1'])}")
    console.print(state.append("".join(f" · {formatting.one_line(fact)}" for fact in known), style="not dim default"))


def _facts(row: dict[str, Any], now: datetime) -> list[tuple[str, str]]:
    """When a job was made, who runs it, what went wrong, where its results are."""

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
    if told := undelivered_lines(row, now):
        lines += told
    elif row.get("reason"):
        lines.append(("reason", str(row["reason"])))
    return lines + [(key, str(row[key])) for key in ("artifacts", "description") if row.get(key)]


def print_status(
    console: Console, row: dict[str, Any], metrics: dict[str, Point], log: list[LogLine], now: datetime
) -> None:
    """Where a job stands, with its newest values by metric and the last line of its log."""
    _print_title(console, row)
    print_lines(console, _facts(row, now) + _progress(metrics, log, now))


def _progress(metrics: dict[str, Point], log: list[LogLine], now: datetime) -> list[tuple[str, str]]:
    numbers = [
        (METRICS[name], f"{point.value:.4f} at step {point.step:,}, {tables.ago(point.timestamp, now)}")
        for name, point in metrics.items()
    ]
    return numbers + [("last log line", f"{line.message} ({tables.ago(line.timestamp, now)})") for line in log]


def print_details(
    console: Console, row: dict[str, Any], past: Past, curves: dict[str, list[Point]], now: datetime
) -> None:
    """All that is known of a job."""
    _print_title(console, row)
    print_lines(console, [*_facts(row, now), ("cost", cost_text(past.cost))])
    _print_attempts(console, past, now)
    _print_checkpoints(console, past, now)
    _print_transitions(console, past, now)
    _print_curves(console, curves)
    _print_spec(console, spec_of(row))


def cost_text(cost: Cost) -> str:
    """Dollars and time of a job, and of how many attempts the price is not known."""
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


def _print_attempts(console: Console, past: Past, now: datetime) -> None:
    if not past.attempts:
        return
    tables.heading(console, "Attempts")
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
    if not past.checkpoints:
        return
    tables.heading(console, "Checkpoints")
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
        tables.heading(console, "States")
    lines = []
    for row in past.transitions:
        change = f"{row['from']} -> {row['to']}" if row["from"] else str(row["to"])
        lines.append((tables.when(row["at"], now), f"{change}{': ' + row['reason'] if row['reason'] else ''}"))
    print_lines(console, lines)


def _print_curves(console: Console, curves: dict[str, list[Point]]) -> None:
    if not curves:
        return
    tables.heading(console, "Curves")
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
    """The values that are set; in a part of the resolved spec null means that nothing is."""
    single = {name: value for name, value in spec.items() if not isinstance(value, dict)}
    parts = {"Spec": single} | {name: value for name, value in spec.items() if isinstance(value, dict)}
    for name, values in parts.items():
        known = [(key, formatting.value_text(value)) for key, value in values.items() if value not in (None, "")]
        if known:
            tables.heading(console, name)
            print_lines(console, known)


def _second(timestamp: str) -> str:
    """A stored time in UTC to the second, as ISO 8601 writes it."""
    return f"{timestamp[:19]}Z" if timestamp.endswith("+00:00") else timestamp


def print_log_json(lines: Iterable[LogLine]) -> None:
    """Print an object a line."""
    for line in lines:
        said = {"timestamp": line.timestamp, "level": line.level, "message": line.message, "attempt": line.attempt}
        click.echo(json.dumps(said, ensure_ascii=False))


def log_printer() -> Callable[[Iterable[LogLine]], None]:
    """Prints lines for people, with a heading where another attempt begins."""
    console = tables.console()
    attempt: int | None = None

    def show(lines: Iterable[LogLine]) -> None:
        nonlocal attempt
        for line in lines:
            if line.attempt is not None and line.attempt != attempt:
                attempt = line.attempt
                console.print(Text(f"attempt {attempt}", style="bold"))
            said: Any = Text(f"{_second(line.timestamp)} ", style="dim")
            said.append(printable(line.message), style=_STYLES.get(line.level, "not dim default"))
            console.print(said, soft_wrap=True)

    return show
