"""Validation of a job's row: one rule for all that claim, show or count jobs. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal, get_args

State = Literal["PENDING", "CLAIMED", "RUNNING", "INTERRUPTED", "SUCCEEDED", "FAILED", "CANCELLED"]
STATES: Final[tuple[str, ...]] = get_args(State)

_REQUIRED: Final = ("job_id", "name", "status")
_LENGTH: Final = 60
"""Characters of a value that a reason quotes."""


def read_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a JOB row that are known here, each as what it must be; unset ones are left out.

    Raises:
        ValueError: one of them cannot be read, or one is missing that every row has; says which and why.
    """
    values = {}
    for name, read in _READ.items():
        if row.get(name) is None:
            continue
        try:
            values[name] = read(row[name])
        except (ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"{name}: {error}") from None
    for name in _REQUIRED:
        if not values.get(name):
            raise ValueError(f"{name} is missing")
    if row.get("PK") not in (None, f"JOB#{values['job_id']}"):
        raise ValueError(f"job_id: {_quoted(values['job_id'])} is not the job of the row's key")
    if "queue_url" in values:
        _require_fences(values)
    return values


def presentable(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row for people: what its readers rely on is there and of its type, whatever was stored.

    Where the row cannot be read, `unreadable` says why, and so does `reason`; what cannot be read is left out, or is
    text where a text belongs. Attributes that are not known here stay as they are.
    """
    try:
        read_values(row)
    except ValueError as error:
        reason = str(error)
    else:
        return {"created_at": "", **row}
    shown = dict(row)
    for name, read in _READ.items():
        try:
            read(row[name])
        except (KeyError, ValueError, OverflowError, RecursionError):
            if row.get(name) is None or read not in (_text, _status):
                shown.pop(name, None)
            else:
                shown[name] = row[name] if isinstance(row[name], str) else _quoted(row[name])
    unknown = {"job_id": str(row.get("PK", "?")).removeprefix("JOB#"), "name": "?", "status": "?", "created_at": ""}
    said = {"unreadable": reason, "reason": f"no worker can read its row: {reason}"}
    return {**unknown, **shown, **said}


def _require_fences(values: Mapping[str, Any]) -> None:
    """A worker's writes are conditional on these; without them each would be refused for ever."""
    if "version" not in values:
        raise ValueError("version is missing")
    if values["status"] in ("CLAIMED", "RUNNING") and "lease_expires_at" not in values:
        raise ValueError(f"lease_expires_at is missing, and the job is {values['status']}")


def _quoted(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]}..."


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_quoted(value)} is not a text")
    return value


def _status(value: object) -> str:
    if value not in STATES:
        raise ValueError(f"{_quoted(value)} is not a state that this version knows")
    return str(value)


def _count(value: object) -> int:
    is_finite = value.is_finite() if isinstance(value, Decimal) else True
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not is_finite or value != int(value):
        raise ValueError(f"{_quoted(value)} is not a whole number")
    if value < 0:
        raise ValueError(f"{value} is below 0")
    return int(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{_quoted(value)} is neither true nor false")
    return value


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise ValueError(f"{_quoted(value)} is not a mapping of texts")
    return dict(value)


def _spec(value: object) -> dict[str, Any]:
    try:
        spec = json.loads(_text(value))
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None
    if not isinstance(spec, dict):
        raise ValueError("no JSON object")
    return spec


def _moment(value: object) -> datetime:
    """A time as rows have it: another way to write the same one would not be found again by a condition."""
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError:
        raise ValueError(f"{_quoted(value)} is not a date") from None
    if moment.tzinfo is None:
        raise ValueError(f"{_quoted(value)} has no time zone")
    if moment.astimezone(UTC).isoformat(timespec="microseconds") != value:
        raise ValueError(f"{_quoted(value)} is not written as 2026-01-31T12:00:00.000000+00:00")
    return moment


_READ: Final[Mapping[str, Callable[[object], Any]]] = {
    **dict.fromkeys(("job_id", "name", "pool", "priority", "queue_url", "model", "description"), _text),
    **dict.fromkeys(("created_at", "updated_at", "worker_id", "reason", "artifacts", "asked"), _text),
    **dict.fromkeys(("waits_for", "held_reason", "list_prices", "checkpoints_gone_at", "message_id"), _text),
    **dict.fromkeys(("version", "attempt", "num_failures", "max_failures", "num_lost", "num_undelivered"), _count),
    **dict.fromkeys(("lease_expires_at", "undelivered_since", "next_try_at"), _moment),
    "status": _status,
    "spec": _spec,
    "tags": _texts,
    "cancel_requested": _flag,
}
