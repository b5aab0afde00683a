"""Rows of jobs that this version cannot read: mended by hand, or written by a newer one."""

from __future__ import annotations

from typing import Any, Final

ODD: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "no JSON": ({"spec": "{model: tiny}"}, "spec: no JSON"),
    "newer state": ({"status": "PAUSED"}, "status: 'PAUSED' is not a state that this version knows"),
    "no date": ({"status": "RUNNING", "lease_expires_at": "tomorrow"}, "lease_expires_at: 'tomorrow' is not a date"),
    "no zone": (
        {"status": "RUNNING", "lease_expires_at": "2026-11-20T12:00:00"},
        "lease_expires_at: '2026-11-20T12:00:00' has no time zone",
    ),
    "no number": ({"attempt": "two"}, "attempt: 'two' is not a whole number"),
    "no name": ({"name": None}, "name is missing"),
    "no texts": ({"tags": ["a"], "created_at": 5}, "created_at: 5 is not a text"),
}
"""What is odd -> (what is put into the row, what is said of it)."""
