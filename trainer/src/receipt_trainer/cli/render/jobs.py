"""What the commands say of a job whose complete run is not delivered: why, since when, when it is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.cli import stack
from receipt_trainer.cli.render import tables

if TYPE_CHECKING:
    from datetime import datetime

KEYS: Final = ("undelivered_since", "num_undelivered", "next_try_at", "waits_for", "held_reason")
"""Of a job in `--json`; null where its run is delivered or not complete."""


def note(row: Mapping[str, Any]) -> str:
    """What is put behind the state; empty for every other job."""
    from receipt_trainer.jobs.state_machine import is_held

    return "held" if is_held(row) else "undelivered" if _waits(row) else ""


def lines(row: Mapping[str, Any], now: datetime) -> list[tuple[str, str]]:
    """Names and values, one pair a line; none for every other job."""
    from receipt_trainer.jobs.state_machine import is_held

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


def short(row: Mapping[str, Any], now: datetime | None = None) -> str:
    """The same in one line; empty for every other job."""
    from receipt_trainer.jobs.state_machine import is_held

    if is_held(row):
        return f"held; receipt-trainer retry{stack.given()} {row['job_id']} delivers it: {row['held_reason']}"
    if _waits(row):
        next_try = f"; next try {_next_try(row, now)}" if now is not None else ""
        return f"complete, not delivered{next_try}: {row['waits_for']}"
    return ""


def ended(row: Mapping[str, Any]) -> str:
    """How a job ended, or why nobody goes on with it, in one line."""
    from receipt_trainer.jobs.state_machine import is_held

    if is_held(row):
        return f"job {row['job_id']} is {short(row)}"
    return f"job {row['job_id']} is {row['status']}{': ' if row.get('reason') else ''}{row.get('reason') or ''}"


def _waits(row: Mapping[str, Any]) -> bool:
    """Whether a job waits for the next try, or for a worker that makes it."""
    from receipt_trainer.jobs.state_machine import is_held

    is_waiting = row.get("status") in ("INTERRUPTED", "PENDING") and not is_held(row)
    return is_waiting and bool(row.get("waits_for")) and not row.get("unreadable")


def _tries(row: Mapping[str, Any]) -> str:
    number = row.get("num_undelivered") or 0
    return f"{number} tries failed" if number != 1 else "1 try failed"


def _next_try(row: Mapping[str, Any], now: datetime) -> str:
    """When a job that waits is tried again."""
    from receipt_trainer.contract.tables import moment

    at = moment(row.get("next_try_at"))
    return tables.when(row["next_try_at"], now) if at is not None and at > now else "as soon as a worker takes it"
