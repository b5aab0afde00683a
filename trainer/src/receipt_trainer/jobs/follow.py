"""A job followed until it ends: its log line by line, or all of it on a screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from receipt_trainer.aws.dynamo import Item
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.rows import Wanted, find
from receipt_trainer.jobs.state_machine import is_held, is_over
from receipt_trainer.jobs.views import JobView, Line, LiveJob, LogTail

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

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


def newest(client: DynamoDBClient, table: str) -> str:
    """The id of the newest job that runs; if none does, of the newest that is about to; UserError if there is none."""
    for status in ("RUNNING", "CLAIMED", "INTERRUPTED", "PENDING"):
        found = [row for row in find(client, table, Wanted(status=status), NUM_CANDIDATES) if not is_held(row)]
        if found:
            return str(found[0]["job_id"])
    raise UserError("no job runs or waits; name the one to watch: receipt-trainer jobs lists them")


def follow_log(
    read_job: Callable[[], Item],
    tail: LogTail,
    show: Callable[[Iterable[Line]], None],
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
