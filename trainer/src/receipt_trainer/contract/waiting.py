"""The messages of jobs that wait: their text, and which jobs lack one. Nothing is asked here.

A job is taken when a worker receives its message. Messages get lost: SQS forgets them after 14 days, a queue is purged,
or deleted with its stack, and a `submit` or `retry` dies between row and message. No call says whose message is
missing: a queue can only be counted. So where a queue has fewer messages than jobs that should have one there, in two
looks five minutes apart, every job that waits for longer than that gets a new one. One too many is harmless: claims
are fenced, and the worker that receives it is refused and deletes it.

Needs the standard library alone: the stack's function and the commands on a laptop decide by this file.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from receipt_trainer.contract.job_row import read_values
from receipt_trainer.contract.tables import moment

BODY_VERSION: Final = 2
"""The newest version of a message that this program reads; a worker leaves later ones to newer workers."""


def body_version(spec: Mapping[str, Any]) -> int:
    """Version of the messages of a stored job: 2 where its spec says the family, which version 0.1.0 cannot read."""
    return 2 if "family" in spec else 1


def body_of(job_id: str, version: int = 1) -> str:
    """The text of a message; `version`: see `body_version`."""
    return json.dumps({"job_id": job_id, "version": version})


def new_deduplication_id(job_id: str) -> str:
    """An id that no message of the job has had: SQS drops a second one of an id for five minutes, deleted or not."""
    return f"{job_id}-{uuid.uuid4()}"


WAIT_S: Final = 300
"""A job that waits for less gets no new message: its own may be on its way."""
APART_S: Final = 270
"""Seconds between two looks that agree: five minutes, less what a schedule of five minutes may be early."""
OLD_S: Final = 3600
"""A look that is older says nothing of now."""
AHEAD_S: Final = 60
"""By so much another one's clock may be ahead."""

WAITING: Final = ("PENDING", "INTERRUPTED")
OWNED: Final = ("CLAIMED", "RUNNING")
STATES: Final = (*WAITING, *OWNED)
"""Of jobs that have a message; in the order in which a job passes them, so that one that moves on meanwhile is seen."""
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class JobQueuePlace:
    """A job queue of the stack."""

    pool: str
    priority: str
    url: str

    @property
    def name(self) -> str:
        """The queue's name, under which looks are kept."""
        return queue_name(self.url)

    @property
    def label(self) -> str:
        """Display name, such as cpu-normal."""
        return f"{self.pool}-{self.priority}"


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """The fields of a job that a look reads.

    Attributes:
        waits_since: since when any worker may take it; None while one has it, or until its next try is due.
        is_readable: whether workers can read its row; what they cannot is left alone.
    """

    job_id: str
    status: str
    version: int
    queue_url: str
    waits_since: datetime | None
    is_readable: bool = True
    body_version: int = 1

    def is_overdue(self, now: datetime) -> bool:
        """Whether it waits for so long that its message must have arrived."""
        return self.is_readable and self.waits_since is not None and now - self.waits_since > timedelta(seconds=WAIT_S)


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages of one queue, as SQS counts them; `num_hidden` are those that were received or are delayed."""

    num_visible: int
    num_hidden: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.num_visible + self.num_hidden


@dataclass(frozen=True, slots=True)
class Look:
    """The findings of a look at one queue, such as cpu-normal.

    Attributes:
        num_waiting: jobs that wait for a worker.
        num_active: jobs that a worker has, or whose next try is not due: their messages are hidden.
        num_messages: messages that may be theirs.
        short_since: since when all looks have found fewer messages than jobs; None if this one has not.
    """

    queue: str
    at: datetime
    num_waiting: int
    num_active: int
    num_messages: int
    short_since: datetime | None = None

    @property
    def num_missing(self) -> int:
        """Messages that the queue lacks, at least."""
        return max(0, self.num_waiting + self.num_active - self.num_messages)

    def is_confirmed(self) -> bool:
        """Whether two looks, far enough apart, have found too few messages."""
        return self.short_since is not None and self.at - self.short_since >= timedelta(seconds=APART_S)


def read_job(row: Mapping[str, Any], now: datetime) -> QueuedJob | None:
    """The fields of a job's row that a look needs; None if the job should have no message. Never raises."""
    try:
        values = read_values(row)
    except ValueError:
        url = row.get("queue_url")
        return QueuedJob(str(row.get("job_id")), "", -1, url, None, False) if isinstance(url, str) else None
    is_held = values["status"] == "INTERRUPTED" and "held_reason" in values
    if values["status"] not in STATES or "queue_url" not in values or is_held:
        return None
    since = _waits_since(values, moment(values.get("updated_at")) or _LONG_AGO, now)
    version = body_version(values.get("spec", {}))
    return QueuedJob(values["job_id"], values["status"], values["version"], values["queue_url"], since, True, version)


def _waits_since(values: Mapping[str, Any], changed_at: datetime, now: datetime) -> datetime | None:
    """A worker that vanished leaves a job that waits from the end of its lease on."""
    begins = values.get("lease_expires_at" if values["status"] in OWNED else "next_try_at") or changed_at
    return None if begins > now else min(now, max(begins, changed_at))


def take(queue: str, jobs: Iterable[QueuedJob], messages: Messages, last: Look | None, now: datetime) -> Look:
    """Look at one queue, at the jobs whose rows name it, its messages, and the look before.

    It is unknown whether rows that cannot be read still have a message: workers hide it, time and again, until
    the dead-letter queue takes it. So of the hidden messages that no other job explains, one for each such row is not
    counted: it must stand for no job that waits.
    """
    known = list(jobs)
    num_waiting = sum(job.is_readable and job.waits_since is not None for job in known)
    num_active = sum(job.is_readable and job.waits_since is None for job in known)
    num_unreadable = sum(not job.is_readable for job in known)
    num_strange = min(num_unreadable, max(0, messages.num_hidden - num_active))
    found = Look(queue, now, num_waiting, num_active, messages.total - num_strange)
    if not found.num_missing:
        return found
    return replace(found, short_since=(last.short_since if last and counts(last, now) else None) or now)


def counts(last: Look, now: datetime) -> bool:
    """Whether an earlier look still says something: it is neither too old nor of a clock that is far ahead."""
    return -AHEAD_S <= (now - last.at).total_seconds() <= OLD_S


def unsent(look: Look, jobs: Iterable[QueuedJob]) -> list[QueuedJob]:
    """The jobs that get a new message now, the longest waiting first; none before a second look agrees."""
    if not look.is_confirmed():
        return []
    overdue = [job for job in jobs if job.is_overdue(look.at)]
    return sorted(overdue, key=lambda job: (job.waits_since or look.at, job.job_id))


def settled(look: Look) -> Look:
    """The look as it is kept once its messages are sent: two further ones must agree before there are more."""
    return replace(look, short_since=None)


def homes(
    jobs: Iterable[QueuedJob], places: Sequence[JobQueuePlace], now: datetime
) -> list[tuple[QueuedJob, JobQueuePlace]]:
    """Jobs that wait in a queue that is gone, each with the queue that came in its place.

    A stack that was taken down and came back has new queues: the same names but for what Pulumi puts at their ends. A
    queue of another name is somebody else's, and so are its jobs.
    """
    there = {place.url for place in places}
    found = []
    for job in jobs:
        if job.queue_url not in there and job.is_overdue(now):
            stem = _stem(job.queue_url)
            found += [(job, place) for place in places if _stem(place.url) == stem]
    return found


def queue_name(url: str) -> str:
    """The name at the end of a queue's URL."""
    return url.rpartition("/")[2]


def _stem(url: str) -> str:
    """A queue's name without the random characters that Pulumi appends to it."""
    return re.sub(r"-[0-9a-f]{7,}\.fifo$", "", queue_name(url))
