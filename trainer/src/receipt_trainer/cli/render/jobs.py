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
from receipt_trainer.jobs.curves import Point
from receipt_trainer.jobs.limits import Limits
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.rows import spec_of
from receipt_trainer.jobs.state_machine import is_held
from receipt_trainer.jobs.views import LogLine, Past, last_value
from receipt_trainer.reports import formatting
from receipt_trainer.reports.formatting import printable
from receipt_trainer.reports.terminal_plot import Curve, side_by_side

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
_BY_IMPORTANCE: Final = (
    *("id", "name", "state", "F1", "spent", "expected", "created"),
    *("pool", "reason", "changed", "failures", "attempts"),
)
_COMPACT_BELOW: Final = 140
_NARROW_DETAILS_BELOW: Final = 110
_PLOT_WIDTH: Final = 120
_PLOT_HEIGHT: Final = 12
_SHORT: Final = 13
"""Characters of a state and its note in a narrow table."""
LOG_STYLES: Final = {"warning": "yellow", "error": "red", "critical": "red"}


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
    note = ""
    if "unreadable" in row:
        note = "unreadable"
    elif row.get("cancel_requested") and row.get("status") in ("CLAIMED", "RUNNING"):
        note = "cancelling"
    elif is_held(row) or _waits(row):
        note = "held" if is_held(row) else "undelivered"
    return status_text(row["status"], note, short=short)


def undelivered_lines(row: Mapping[str, Any], now: datetime) -> list[tuple[str, str]]:
    """Names and values, one pair a line; none for every other job."""
    number = row.get("num_undelivered") or 0
    tries = "1 try failed" if number == 1 else f"{number} tries failed"
    since = f"since {tables.when(row.get('undelivered_since'), now)}, {tries}"
    if is_held(row):
        retry = f"once the cause is gone: receipt-trainer retry{stack.given()} {row['job_id']}"
        return [("held", str(row["held_reason"])), ("undelivered", since), ("to do", retry)]
    if not _waits(row):
        return []
    complete = ("undelivered", f"its run is complete and not delivered {since}")
    return [("waits for", str(row["waits_for"])), complete, ("next try", _next_try(row, now))]


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


def _next_try(row: Mapping[str, Any], now: datetime) -> str:
    """When a job that waits is tried again."""
    at = moment(row.get("next_try_at"))
    return tables.when(row["next_try_at"], now) if at is not None and at > now else "as soon as a worker takes it"


def print_jobs(console: Console, rows: Sequence[dict[str, Any]], now: datetime) -> None:
    """A row a job; a narrow terminal gets fewer and shorter columns."""
    length = id_length([row["job_id"] for row in rows])
    cells = [_row_cells(row, now, length, console.width < _COMPACT_BELOW) for row in rows]
    numbers = ("attempts", "failures", "F1", "spent", "expected")
    tables.print_cells(console, cells, _BY_IMPORTANCE, numbers, flexible="reason")


def _row_cells(row: dict[str, Any], now: datetime, length: int, narrow: bool) -> dict[str, str | Text]:
    f1, limit, hours, usd = (row.get(key) for key in ("f1", "max_failures", "max_hours", "max_usd"))
    spent = amount(row.get("spent_s") or None, row.get("spent_usd"), short=narrow)
    bounds = ([f"{hours:g} h"] if hours is not None else []) + ([f"${usd:g}"] if usd is not None else [])
    if bounds and not narrow:
        spent += f" of {', '.join(bounds)}"
    return {
        "id": row["job_id"][:length],
        "name": formatting.one_line(row["name"], 18 if narrow else 40),
        "state": state_text(row, short=narrow),
        "pool": row.get("pool") or "–",
        "attempts": str(row.get("attempt") or 0),
        "failures": f"{row.get('num_failures') or 0} of {limit}" if limit else "–",
        "F1": formatting.score(f1 if isinstance(f1, int | float) else None),
        "spent": spent,
        "expected": amount(row.get("expected_s"), row.get("expected_usd"), short=narrow),
        "created": tables.ago(row["created_at"], now) if narrow else tables.when(row["created_at"], now),
        "changed": tables.ago(row.get("updated_at"), now),
        "reason": formatting.one_line(undelivered_text(row, now) or row.get("reason") or "", 80),
    }


def amount(seconds: object, usd: object, *, short: bool = False) -> str:
    """Time and dollars as far as they are known; with `short` the dollars alone, or the time where they are unknown."""
    known = []
    if isinstance(seconds, int | float):
        known.append(formatting.short_duration(seconds) if short else formatting.duration(float(seconds)))
    if isinstance(usd, int | float):
        known.append(dollars(float(usd)))
    return ", ".join(known[-1:] if short else known) or formatting.NOTHING


def id_length(job_ids: Sequence[str], shortest: int = 8) -> int:
    """How much of each id is shown so that all differ."""
    for length in range(shortest, max(map(len, job_ids), default=shortest)):
        if len({job_id[:length] for job_id in job_ids}) == len(set(job_ids)):
            return length
    return max(map(len, job_ids), default=shortest)


def title_text(row: Mapping[str, Any], limit: int = 80) -> Text:
    """Name, cut to `limit` characters, and id of a job."""
    title = Text(formatting.one_line(row["name"], limit), style="bold", no_wrap=True)
    return title.append(f"  {row['job_id']}", style="not bold dim")


def state_line(row: Mapping[str, Any], facts: Iterable[str]) -> Text:
    """State and attempt of a job, some facts, and its score."""
    known = [f"attempt {row['attempt']}"] if row.get("attempt") else []
    score = [f"F1 {formatting.score(row['f1'])}"] if isinstance(row.get("f1"), int | float) else []
    text = "".join(f" · {formatting.one_line(fact)}" for fact in (*known, *facts, *score))
    return state_text(row).append(text, style="not dim default")


def _print_title(console: Console, row: dict[str, Any]) -> None:
    """Name, id and state of a job."""
    console.print(title_text(row))
    console.print(state_line(row, [f"{name} {row[name]}" for name in ("pool", "priority") if row.get(name)]))


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
    lines = _facts(row, now)
    for name, point in metrics.items():
        lines.append((METRICS[name], f"{point.value:.4f} at step {point.step:,}, {tables.ago(point.timestamp, now)}"))
    print_lines(
        console, lines + [("last log line", f"{one.message} ({tables.ago(one.timestamp, now)})") for one in log]
    )


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
    rows = []
    for row in past.attempts:
        started = tables.ago(row["started_at"], now) if narrow else tables.when(row["started_at"], now)
        cost = "unknown" if row["usd"] is None else dollars(row["usd"])
        took = formatting.duration(row["seconds"])
        rows.append([str(row["attempt"]), row["outcome"] or "running", started, took, cost])
        if not narrow:
            ends = (("from", row["start_step"]), ("to", row["checkpoint_step"]))
            rows[-1].append(" ".join(f"{name} {step}" for name, step in ends if step is not None) or "–")
            rows[-1] += [str(row[key] or "–") for key in ("worker_id", "instance_id", "instance_type")]
    wide = () if narrow else ("steps", "worker", "instance", "type")
    tables.print_rows(console, ("", "outcome", "started", "took", "cost", *wide), rows, right=("", "took", "cost"))
    print_lines(console, [(f"attempt {row['attempt']}", str(row["reason"])) for row in past.attempts if row["reason"]])


def _print_checkpoints(console: Console, past: Past, now: datetime) -> None:
    if not past.checkpoints:
        return
    tables.heading(console, "Checkpoints")
    rows = []
    for row in past.checkpoints:
        size, epoch = row["size_bytes"], row["epoch"]
        cells = [f"{row['step']:,}", "–" if epoch is None else f"{epoch:.2f}", str(row["attempt"] or "–")]
        rows.append([*cells, "–" if size is None else f"{size / 1e6:,.1f} MB", tables.when(row["at"], now)])
    numbers = ("step", "epoch", "attempt", "size")
    tables.print_rows(console, (*numbers, "at"), rows, right=numbers)


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
    shown = tables.plain_table("", "first", "last", "lowest", "highest", "step")
    for name, points in curves.items():
        values = [point.value for point in points]
        known = [value for value in values if math.isfinite(value)] or [math.nan]
        ends = (formatting.number(value) for value in (values[0], values[-1], min(known), max(known)))
        shown.add_row(Text(formatting.one_line(name, 30)), *ends, f"{points[-1].step:,}")
    console.print(shown)
    console.print()
    for line in side_by_side(plots_of(curves), min(console.width, _PLOT_WIDTH), _PLOT_HEIGHT):
        console.print(line)


def plots_of(curves: Mapping[str, Sequence[Point]]) -> list[Curve]:
    """The two curves that are drawn: the loss, and what the validation says."""
    scores = {"eval_f1": "validation F1", "eval_accuracy": "validation accuracy", "eval_loss": "validation loss"}
    score = next((name for name in scores if curves.get(name)), "eval_f1")
    found: list[Curve] = []
    for name, title in (("loss", "training loss"), (score, scores[score])):
        points = curves.get(name, [])
        last = last_value(points)
        steps, values = [point.step for point in points], [point.value for point in points]
        found.append((title if last is None else f"{title} {last.value:.4f}", steps, values))
    return found


def _print_spec(console: Console, spec: dict[str, Any]) -> None:
    """The values that are set; in a part of the resolved spec null means that nothing is."""
    single = {name: value for name, value in spec.items() if not isinstance(value, dict)}
    parts = {"Spec": single} | {name: value for name, value in spec.items() if isinstance(value, dict)}
    for name, values in parts.items():
        known = [(key, formatting.value_text(value)) for key, value in values.items() if value not in (None, "")]
        if known:
            tables.heading(console, name)
            print_lines(console, known)


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
            # In UTC to the second, as ISO 8601 writes it.
            at = f"{line.timestamp[:19]}Z" if line.timestamp.endswith("+00:00") else line.timestamp
            said: Any = Text(f"{at} ", style="dim")
            said.append(printable(line.message), style=LOG_STYLES.get(line.level, "not dim default"))
            console.print(said, soft_wrap=True)

    return show
