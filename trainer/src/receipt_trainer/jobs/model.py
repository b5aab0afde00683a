"""A job and its attempts, as their rows in the jobs table have them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from receipt_trainer.contract.job_row import State as State
from receipt_trainer.contract.job_row import read_values
from receipt_trainer.contract.tables import JOB_SK, iso, job_name_pk, job_order, job_pk, job_status_pk, to_float
from receipt_trainer.contract.waiting import body_version

Outcome = Literal["SUCCEEDED", "FAILED", "INTERRUPTED", "CANCELLED", "LOST"]
"""How an attempt ended; LOST: its worker let the lease run out."""

WAITING: Final[frozenset[State]] = frozenset({"PENDING", "INTERRUPTED"})
OWNED: Final[frozenset[State]] = frozenset({"CLAIMED", "RUNNING"})
TERMINAL: Final[frozenset[State]] = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})

MAX_PAUSE_S: Final = 6 * 3600
"""Longest pause between two tries to deliver a complete run; half of what SQS hides a message for at most."""

_MOMENTS: Final = ("lease_expires_at", "undelivered_since", "next_try_at")
"""Attributes of a job's row that are a date and time, as `iso` writes them."""

_NUMBERS: Final = ("f1", "expected_s", "expected_usd")
"""Attributes that are only shown: values that are not numbers count as unknown."""


MAX_AHEAD: Final = timedelta(hours=1)
"""A lease is claimed for minutes; clocks of machines that ask no server are rarely wrong by as much as this."""


def is_impossible(lease_expires_at: datetime, now: datetime) -> bool:
    """Whether a lease lies further ahead than one that a right clock wrote."""
    return lease_expires_at - now > MAX_AHEAD


def spec_values(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a job's row that say its spec; the limits stand beside it, for lists that leave it out."""
    limits = {name: spec.get(name) for name in ("max_hours", "max_usd")}
    return {"spec": json.dumps(dict(spec), sort_keys=True), **limits}


class UnreadableRow(ValueError):  # noqa: N818 - callers may continue without the row
    """A job's row that this version cannot read: mended by hand, or written by a newer version; `reason` names what."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"the row of job {job_id} cannot be read: {reason}")
        self.job_id, self.reason = job_id, reason


@dataclass(frozen=True, slots=True)
class Job:
    """A job's own row.

    Attributes:
        version: counts the job's changes of state; every change is conditional on it.
        attempt: number of the last claim, 0 before the first: the fencing token.
        num_failures: failed attempts; `max_failures` of them end the job.
        num_lost: attempts whose worker vanished.
        spec: the resolved JobSpec, as plain values; `training_config` and `data_config` are complete.
        queue_url: where its messages go; None for a run without a queue (`layoutlm-cli train`).
        lease_expires_at: until when a CLAIMED or RUNNING job is its worker's.
        message_id: of the message by which that worker took it.
        artifacts: URL of the results.
        request_hash: of what was asked, `asked` of its row: a client token stands for one request.
        expected_s, expected_usd: instance time and dollars as they were estimated when it was submitted, if they were.
        undelivered_since: when its run was complete and could not be delivered for the first time.
        num_undelivered: tries to deliver it that failed since then.
        next_try_at: before it no worker tries again, and its message is hidden.
        waits_for: what failed, in one line, while it waits for the next try.
        checkpoints_gone_at: when the checkpoints of its earlier attempts were deleted.
        list_prices: JSON object of dollars an hour by instance type, for attempts whose own price is not known; of a
            job that is bounded by dollars.
        held_reason: why no worker tries again; see `is_held`.
    """

    job_id: str
    name: str
    status: State
    version: int = 0
    attempt: int = 0
    num_failures: int = 0
    max_failures: int = 3
    num_lost: int = 0
    pool: str | None = None
    priority: str = "normal"
    queue_url: str | None = None
    model: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    created_at: str = ""
    updated_at: str = ""
    worker_id: str | None = None
    lease_expires_at: datetime | None = None
    cancel_requested: bool = False
    reason: str | None = None
    f1: float | None = None
    artifacts: str | None = None
    request_hash: str | None = None
    expected_s: float | None = None
    expected_usd: float | None = None
    undelivered_since: datetime | None = None
    num_undelivered: int = 0
    next_try_at: datetime | None = None
    waits_for: str | None = None
    held_reason: str | None = None
    list_prices: str | None = None
    checkpoints_gone_at: str | None = None
    message_id: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Job:
        """Read a JOB row; unknown attributes are ignored. UnreadableRow: one cannot be read, or is missing."""
        try:
            known = read_values(row)
        except ValueError as error:
            job_id = str(row.get("job_id") or str(row.get("PK", "")).removeprefix(job_pk("")) or "without an id")
            raise UnreadableRow(job_id, str(error)) from None
        known |= {name: to_float(row.get(name)) for name in _NUMBERS}
        return cls(request_hash=known.pop("asked", None), **known)

    def to_row(self) -> dict[str, Any]:
        """The JOB row, as `from_row` reads it and the indexes find it; unset attributes are left out."""
        own = {name: getattr(self, name) for name in self.__slots__}
        own["asked"] = own.pop("request_hash")
        own |= spec_values(self.spec)
        own |= {name: iso(own[name]) for name in _MOMENTS if own[name] is not None}
        return self._keys() | {name: value for name, value in own.items() if value is not None}

    def local_row(self) -> dict[str, Any]:
        """The JOB row of a run without a queue: only the values that the run itself gives."""
        names = ("job_id", "name", "status", "version", "created_at", "updated_at")
        return self._keys() | {name: getattr(self, name) for name in names}

    def _keys(self) -> dict[str, Any]:
        order = job_order(self.created_at, self.job_id)
        keys = {"PK": job_pk(self.job_id), "SK": JOB_SK, "TYPE": "JOB", "GSI1SK": order, "GSI2SK": order}
        return keys | {"GSI1PK": job_status_pk(self.status), "GSI2PK": job_name_pk(self.name)}

    @property
    def body_version(self) -> int:
        """Version of its messages."""
        return body_version(self.spec)

    def is_leased(self, now: datetime) -> bool:
        """Whether a worker holds it."""
        return self.status in OWNED and self.lease_expires_at is not None and now < self.lease_expires_at

    def is_lease_impossible(self, now: datetime) -> bool:
        """Whether its lease lies so far ahead that a clock was wrong: its worker's, or that which says `now`."""
        return self.lease_expires_at is not None and is_impossible(self.lease_expires_at, now)

    @property
    def is_held(self) -> bool:
        """Whether its complete run is delivered only on request (`retry`): it has no message."""
        return self.status == "INTERRUPTED" and self.held_reason is not None

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a worker, with a message in its queue."""
        return self.status in WAITING and not self.is_held

    def is_paused(self, now: datetime) -> bool:
        """Whether it waits for its next try to deliver; one further off than any pause was set by a wrong clock."""
        is_ahead = self.next_try_at is not None and now < self.next_try_at <= now + timedelta(seconds=MAX_PAUSE_S)
        return is_ahead and self.status == "INTERRUPTED"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claim that was granted: what its worker shows when it writes. `number`, from 1, is the fencing token.

    It holds until `lease_expires_at` as granted; renewals move that on in the table.
    """

    job_id: str
    number: int
    worker_id: str
    lease_expires_at: datetime
