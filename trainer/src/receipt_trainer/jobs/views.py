"""A job for people and scripts: its history and cost, its log as it grows, a live view of it, followed to its end."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final, Protocol

from receipt_trainer.aws.dynamo import Item, Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract import cost
from receipt_trainer.contract.cost import Cost, ListPrice
from receipt_trainer.contract.tables import JOB_SK, iso, moment
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.curves import Pace, Point, curves, pace_of
from receipt_trainer.jobs.rows import (
    ATTEMPTS,
    CHECKPOINTS,
    LOGS,
    METRICS,
    TRANSITIONS,
    Wanted,
    attempts_of,
    find,
    get_job,
    row_of,
    rows_of,
    spec_of,
)
from receipt_trainer.jobs.state_machine import is_held, is_over

_ATTEMPT: Final = (
    *("attempt", "worker_id", "instance_id", "instance_type", "price_usd_per_h", "started_at", "ended_at"),
    *("outcome", "reason", "start_step", "checkpoint_step"),
)
_CHECKPOINT: Final = ("step", "epoch", "attempt", "at", "path", "size_bytes")
_TRANSITION: Final = ("at", "from", "to", "attempt", "worker_id", "reason")


@dataclass(frozen=True, slots=True)
class Past:
    """Attempts by their number, each with `seconds`, `usd` (None if unknown) and `at_list_price`; transitions in order.

    Checkpoints are those that are kept, by their step.
    """

    attempts: list[dict[str, Any]]
    transitions: list[dict[str, Any]]
    cost: cost.Cost
    checkpoints: list[dict[str, Any]]


def read_past(table: Table, job_id: str, now: datetime, list_price: cost.ListPrice | None = None) -> Past:
    """Read all of it; `list_price` is asked for the price of an attempt that has none."""

    # By their count, the end of the key: workers' clocks may differ.
    changes = sorted(rows_of(table, job_id, TRANSITIONS), key=lambda row: str(row["SK"]).rpartition("#")[2])
    transitions = [{key: row.get(key) for key in _TRANSITION} for row in changes]
    kept = [{key: row.get(key) for key in _CHECKPOINT} for row in rows_of(table, job_id, CHECKPOINTS)]
    attempts, spent = read_attempts(table, job_id, now, list_price)
    return Past(attempts, transitions, spent, kept)


def read_attempts(
    table: Table, job_id: str, now: datetime, list_price: cost.ListPrice | None = None
) -> tuple[list[dict[str, Any]], cost.Cost]:
    """The attempts alone, and what they cost; see `read_past`."""
    attempts = list(rows_of(table, job_id, ATTEMPTS))
    if attempts and not attempts[-1].get("ended_at"):
        job = row_of(table, job_id, JOB_SK) or {}
        now = cost.open_until(now, job.get("lease_expires_at"))
    parts = list(cost.of_each(attempts, now, list_price))
    priced = [
        {key: row.get(key) for key in _ATTEMPT}
        | {"seconds": part.seconds, "usd": part.usd, "at_list_price": part.is_listed}
        for row, part in zip(attempts, parts, strict=True)
    ]
    return priced, cost.total(parts)


def read_spent(table: Table, rows: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, cost.Cost]:
    """Time and money of jobs by their ids; a request a hundred attempts.

    Args:
        rows: JOB rows, with `attempt` and `lease_expires_at`.
    """
    newest = {str(row["job_id"]): int(row.get("attempt") or 0) for row in rows}
    attempts = attempts_of(table, newest, ("started_at", "ended_at", "price_usd_per_h"))
    ends = {str(row["job_id"]): cost.open_until(now, row.get("lease_expires_at")) for row in rows}
    return {job_id: cost.of_attempts(attempts[job_id], ends[job_id]) for job_id in newest}


OVERLAP: Final = timedelta(seconds=30)
"""How far back each reading looks: rows of a batch do not land in their order, and workers' clocks differ."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log; `attempt` is None in rows of a run without a worker."""

    key: str
    timestamp: str
    level: str
    message: str
    attempt: int | None


class RowTail:
    """Reads rows whose sort keys grow with time (`prefix`, then the time), in pieces.

    No row comes twice, and what was read before is not read again but for the last seconds of it.
    """

    def __init__(self, table: Table, job_id: str, prefix: str) -> None:
        self._table, self._job_id = table, job_id
        self._prefix = self._from = prefix
        self._seen: set[str] = set()

    def last(self, num_rows: int) -> list[Item]:
        """The last rows only; `more` continues after them."""
        wanted = max(1, num_rows)
        rows = list(islice(self._query(self._prefix, newest_first=True, page=wanted), wanted))[::-1]
        if rows:
            self._advance(rows)
            # What lies before the wanted rows within the overlap was not wanted either.
            self._seen |= {str(row["SK"]) for row in self._query(self._from) if str(row["SK"]) < str(rows[0]["SK"])}
        return rows if num_rows else []

    def more(self) -> list[Item]:
        """The rows that have come since, in the order of their time; faults as `last`."""
        rows = [row for row in self._query(self._from) if row["SK"] not in self._seen]
        if rows:
            self._advance(rows)
        return rows

    def _advance(self, rows: Sequence[Item]) -> None:
        self._seen |= {str(row["SK"]) for row in rows}
        newest = moment(max(str(row["timestamp"]) for row in rows))
        if newest is not None:
            self._from = max(self._from, f"{self._prefix}{iso(newest - OVERLAP)}")
        self._seen = {key for key in self._seen if key >= self._from}

    def _query(self, begin: str, **more: Any) -> Iterator[Item]:
        return rows_of(self._table, self._job_id, self._prefix, begin=begin, **more)


class LogTail:
    """Reads a log piece by piece; no line comes twice, and what was read before is not read again."""

    def __init__(self, table: Table, job_id: str) -> None:
        self._rows = RowTail(table, job_id, LOGS)

    def last(self, num_lines: int) -> list[LogLine]:
        """See `RowTail`."""
        return [_line(row) for row in self._rows.last(num_lines)]

    def more(self) -> list[LogLine]:
        """See `RowTail`."""
        return [_line(row) for row in self._rows.more()]


def _line(row: Mapping[str, Any]) -> LogLine:
    attempt = row.get("attempt")
    key, at, level, message = (str(row[name]) for name in ("SK", "timestamp", "level", "message"))
    return LogLine(key, at, level, message, int(attempt) if isinstance(attempt, int | float) else None)


SHOWN: Final = ("loss", "eval_loss", "eval_f1", "eval_accuracy", "learning_rate")
NUM_LINES: Final = 50
"""Lines of the log that are kept: more than any screen shows."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job's state at one moment; `lines` are the last ones of its log, `new_lines` those since the view before.

    `waits`: of a job that waits, what for.
    """

    row: Item
    attempts: list[dict[str, Any]]
    cost: Cost
    curves: dict[str, list[Point]]
    lines: list[LogLine]
    new_lines: list[LogLine]
    pace: Pace
    at: datetime
    waits: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come by itself."""
        return is_over(self.row)


class LiveJob:
    """Reads one job; each metric and the log are read behind the last row that is known."""

    def __init__(
        self,
        table: Table,
        job_id: str,
        list_price: ListPrice | None = None,
        waits: Callable[[Item, datetime], str] = lambda row, now: "",
    ) -> None:
        """Read nothing yet.

        Args:
            list_price: asked for the price of an attempt that has none.
            waits: asked what a job waits for.
        """
        self._waits = waits
        self._table, self._job_id, self._list_price = table, job_id, list_price
        self._log = LogTail(table, job_id)
        self._metrics = [RowTail(table, job_id, f"{METRICS}{name}#") for name in SHOWN]
        self._rows: list[Item] = []
        self._lines: deque[LogLine] = deque(maxlen=NUM_LINES)
        self._spec: dict[str, Any] | None = None

    def look(self, now: datetime) -> JobView:
        """The job now; UserError if there is none."""
        row = get_job(self._table, self._job_id)  # first: what an ended job wrote is then in the rest
        if self._spec is None:
            self._spec = spec_of(row)
            new_lines = self._log.last(NUM_LINES)
        else:
            new_lines = self._log.more()
        self._lines.extend(new_lines)
        self._rows += [row for tail in self._metrics for row in tail.more()]
        found = curves(self._rows)
        attempts, cost = read_attempts(self._table, self._job_id, now, self._list_price)
        pace = pace_of(self._spec, self._of_attempt(int(row.get("attempt") or 0)), running=row["status"] == "RUNNING")
        waits = self._waits(row, now) if row["status"] in ("PENDING", "INTERRUPTED") else ""
        return JobView(row, attempts, cost, found, list(self._lines), new_lines, pace, now, waits)

    def _of_attempt(self, attempt: int) -> list[Point]:
        """The losses of the newest attempt: only they say how fast it is. Without one, of all."""
        rows = [row for row in self._rows if row["name"] == "loss"]
        own = [row for row in rows if int(row.get("attempt") or 0) == attempt]
        return curves(own or rows).get("loss", [])


def last_value(points: Sequence[Point]) -> Point | None:
    """The last point that has a value."""
    return next((point for point in reversed(points) if math.isfinite(point.value)), None)


POLL_S: Final = 2.0
MAX_FAULTS: Final = 5
"""Readings in a row that may fail: a network that is gone for a moment is no reason to end."""
NUM_CANDIDATES: Final = 20
"""Jobs of a state that are looked at for one that is not held."""


class Screen(Protocol):
    """Where a job is shown."""

    def show(self, view: JobView) -> None:
        """Take the job as it is now."""

    def note(self, text: str) -> None:
        """Say why there is nothing new."""


def newest(table: Table) -> str:
    """The id of the newest job that runs; if none does, of the newest that is about to; UserError if there is none."""
    for status in ("RUNNING", "CLAIMED", "INTERRUPTED", "PENDING"):
        found = [row for row in find(table, Wanted(status=status), NUM_CANDIDATES) if not is_held(row)]
        if found:
            return str(found[0]["job_id"])
    raise UserError("no job runs or waits; name the one to watch: receipt-trainer jobs lists them")


def follow_log(
    read_job: Callable[[], Item],
    tail: LogTail,
    show: Callable[[Iterable[LogLine]], None],
    *,
    lines: int | None = None,
    timeout_s: float,
    poll_s: float = POLL_S,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Item:
    """Show a log until its job has ended or `timeout_s` is over; the job's row as it was then.

    Of the lines already there the last `lines` are shown; None shows all.
    """
    deadline = monotonic() + timeout_s
    row = read_job()  # before the log: what an ended job has written is in the reading that follows
    show(tail.more() if lines is None else tail.last(lines))
    while not is_over(row) and (left_s := deadline - monotonic()) > 0:
        sleep(min(poll_s, left_s))
        row = read_job()
        show(tail.more())
    return row


def follow_job(
    live: LiveJob,
    screen: Screen,
    *,
    interval_s: float = POLL_S,
    timeout_s: float,
    until: Callable[[], bool] = lambda: False,
    now: Callable[[], datetime] = utc_now,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> JobView | None:
    """Show a job until it has ended or `timeout_s` is over; the last view, None after Ctrl-C.

    `until` ends it early, after one more reading. A job that cannot be read several times in a row raises its fault.
    """
    deadline, num_faults = monotonic() + timeout_s, 0
    try:
        while True:
            is_last = until()
            try:
                view = live.look(now())
            except WorldError as error:
                num_faults += 1
                if num_faults == MAX_FAULTS or is_last:
                    raise
                screen.note(str(error))
            else:
                num_faults = 0
                screen.show(view)
                if view.has_ended or is_last or monotonic() >= deadline:
                    return view
            sleep(max(0.0, min(interval_s, deadline - monotonic())))
    except KeyboardInterrupt:
        return None
