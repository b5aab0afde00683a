"""Who gets a new message: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.contract import waiting
from receipt_trainer.contract.waiting import JobQueuePlace, Look, Messages, QueuedJob

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
URL = "https://sqs.us-east-1.amazonaws.com/123456789012/queues-cpu-normal-1a2b3c4.fifo"


def iso(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")


def row(status: str = "PENDING", since: timedelta = -60 * MINUTE, **more: Any) -> dict[str, Any]:
    own = {"job_id": "a", "name": "n", "status": status, "version": 3, "queue_url": URL, "spec": "{}"}
    if status in waiting.OWNED:
        own["lease_expires_at"] = iso(NOW + 5 * MINUTE)
    return own | {"updated_at": iso(NOW + since)} | more


def job(job_id: str, since_min: float | None = -60, *, is_readable: bool = True, url: str = URL) -> QueuedJob:
    since = None if since_min is None else NOW + since_min * MINUTE
    return QueuedJob(job_id, "PENDING", 1, url, since, is_readable)


def looks(jobs: list[QueuedJob], messages: Messages, *minutes: float) -> Look:
    """Looks at these minutes, each after the one before; the last of them."""
    last: Look | None = None
    for minute in minutes:
        last = waiting.take("cpu-normal", jobs, messages, last, NOW + minute * MINUTE)
    assert last is not None
    return last


@pytest.mark.parametrize(
    ("given_row", "waits_min"),
    [
        (row(), -60),
        (row("INTERRUPTED", -7 * MINUTE), -7),
        (row("CLAIMED"), None),
        (row("RUNNING"), None),
        (row("RUNNING", lease_expires_at=iso(NOW - 9 * MINUTE)), -9),
        (row("INTERRUPTED", next_try_at=iso(NOW + MINUTE), undelivered_since=iso(NOW - MINUTE)), None),
        (row("INTERRUPTED", next_try_at=iso(NOW - 8 * MINUTE)), -8),
        (row(updated_at="yesterday"), -60 * 24 * 365),
    ],
)
def test_since_when_a_job_waits(given_row: dict[str, Any], waits_min: float | None) -> None:
    """From its last change, the end of its pause, or the end of a lease whose worker is gone; not while it is had."""
    found = waiting.read_job(given_row, NOW)
    assert found is not None
    assert found.is_readable
    if waits_min is None:
        assert found.waits_since is None
    else:
        assert found.waits_since is not None
        assert found.waits_since <= NOW + waits_min * MINUTE
        assert found.is_overdue(NOW)


@pytest.mark.parametrize(
    "given_row",
    [
        row("SUCCEEDED"),
        row("FAILED"),
        row("CANCELLED"),
        row("INTERRUPTED", held_reason="it could not be delivered for 14 days"),
        row("RUNNING", queue_url=None),
    ],
)
def test_who_should_have_no_message_is_not_counted(given_row: dict[str, Any]) -> None:
    """Jobs that have ended, that are held, and runs without a queue."""
    assert waiting.read_job(given_row, NOW) is None


@pytest.mark.parametrize(
    "odd", [{"spec": "{"}, {"status": "PAUSED"}, {"lease_expires_at": "soon"}, {"version": "x"}, {"job_id": None}]
)
def test_a_row_that_cannot_be_read_gets_nothing(odd: dict[str, Any]) -> None:
    """It belongs to its queue, and is never overdue, whatever else it says."""
    found = waiting.read_job(row() | odd, NOW)
    assert found is not None
    assert (found.queue_url, found.is_readable, found.is_overdue(NOW)) == (URL, False, False)
    assert waiting.homes([found], [JobQueuePlace("cpu", "normal", URL.replace("1a2b3c4", "9f8e7d6"))], NOW) == []


def test_one_of_ten_messages_is_gone() -> None:
    """The first look says nothing; the second, five minutes later, names all ten: nobody knows whose message it was."""
    ten = [job(f"job-{number}") for number in range(10)]
    assert waiting.unsent(looks(ten, Messages(9), 0), ten) == []
    assert waiting.unsent(looks(ten, Messages(9), 0, 3), ten) == []
    found = looks(ten, Messages(9), 0, 5)
    assert {one.job_id for one in waiting.unsent(found, ten)} == {one.job_id for one in ten}
    after = waiting.take("cpu-normal", ten, Messages(9), waiting.settled(found), NOW + 10 * MINUTE)
    assert waiting.unsent(after, ten) == []  # SQS counts late: two further looks have to agree


def test_a_running_jobs_hidden_message_stands_for_no_other_job() -> None:
    """Nine messages that wait and one that a worker has are too few for ten jobs that wait and one that runs."""
    jobs = [job("running", None), *(job(f"job-{number}") for number in range(10))]
    assert looks(jobs, Messages(9, 1), 0).num_missing == 1
    assert looks(jobs, Messages(10, 1), 0).num_missing == 0


def test_a_hidden_message_of_a_row_that_cannot_be_read_stands_for_no_other_job() -> None:
    """It neither hides that the job behind it has none, nor, once the dead-letter queue has it, makes one missing."""
    jobs = [job("odd", None, is_readable=False), job("good")]
    assert len(waiting.unsent(looks(jobs, Messages(0, 1), 0, 5), jobs)) == 1
    assert waiting.unsent(looks(jobs, Messages(1, 1), 0, 5), jobs) == []
    assert waiting.unsent(looks(jobs, Messages(1, 0), 0, 5), jobs) == []


def test_a_look_that_finds_enough_begins_anew() -> None:
    """Two looks that found too few do not count together if one between them did not."""
    jobs = [job("a")]
    short = looks(jobs, Messages(0), 0)
    enough = waiting.take("cpu-normal", jobs, Messages(1), short, NOW + 5 * MINUTE)
    assert enough.short_since is None
    assert waiting.unsent(waiting.take("cpu-normal", jobs, Messages(0), enough, NOW + 10 * MINUTE), jobs) == []


@pytest.mark.parametrize("minutes", [61, -2])
def test_a_look_of_another_time_says_nothing(minutes: float) -> None:
    """One that is older than an hour, or of a clock that is minutes ahead, is as none."""
    jobs = [job("a")]
    short = looks(jobs, Messages(0), 0)
    found = waiting.take("cpu-normal", jobs, Messages(0), short, NOW + minutes * MINUTE)
    assert found.short_since == found.at


def test_a_job_of_a_queue_that_is_gone_finds_the_one_in_its_place() -> None:
    """Names that Pulumi made differ by their ends alone; a queue of somebody else keeps its jobs, and so does the
    queue of a pool that the stack does not have any more."""
    new = JobQueuePlace("cpu", "normal", URL.replace("1a2b3c4", "9f8e7d6"))
    high = JobQueuePlace("cpu", "high", new.url.replace("normal", "high"))
    others = [URL.replace("cpu", "gpu"), URL.rpartition("/")[0] + "/ours.fifo"]
    jobs = [job("old"), job("new", url=new.url), *(job(url, url=url) for url in others)]
    assert waiting.homes(jobs, [high, new], NOW) == [(jobs[0], new)]
    assert waiting.homes([job("young", -4), job("runs", None)], [new], NOW) == []


@dataclass
class Made:
    """A job of a made-up queue, and whether its message is there."""

    job: QueuedJob
    has_message: bool

    @property
    def is_waiting(self) -> bool:
        return self.job.waits_since is not None


@st.composite
def queues(draw: st.DrawFn) -> list[Made]:
    kinds = st.sampled_from(["overdue", "young", "active", "unreadable"])
    since = {"overdue": -30.0, "young": -1.0}
    found = []
    for number, kind in enumerate(draw(st.lists(kinds, max_size=30))):
        made = job(f"{kind}-{number}", since.get(kind), is_readable=kind != "unreadable")
        found.append(Made(made, draw(st.booleans())))
    return found


def messages_of(queue: list[Made]) -> Messages:
    there = [one for one in queue if one.has_message]
    num_visible = sum(one.is_waiting for one in there)
    return Messages(num_visible, len(there) - num_visible)


@given(queues())
def test_who_lacks_a_message_gets_one(queue: list[Made]) -> None:
    """Whatever else is in the queue, or is missing there: a job that waits long enough and has no message is named
    by the second look; only jobs are named that wait for long and can be read."""
    jobs = [one.job for one in queue]
    named = waiting.unsent(looks(jobs, messages_of(queue), 0, 5), jobs)
    lacking = {one.job.job_id for one in queue if one.job.job_id.startswith("overdue") and not one.has_message}
    assert lacking <= {one.job_id for one in named}
    assert {one.job_id.partition("-")[0] for one in named} <= {"overdue", "young"}
    assert all(one.is_overdue(NOW + 5 * MINUTE) for one in named)


@given(queues())
def test_where_all_have_a_message_nobody_gets_one(queue: list[Made]) -> None:
    """Neither what cannot be read, with or without a message, nor any number of further ones makes a look short."""
    for one in queue:
        one.has_message = one.has_message or one.job.is_readable
    jobs = [one.job for one in queue]
    found = looks(jobs, messages_of(queue), 0, 5, 10)
    assert (found.num_missing, waiting.unsent(found, jobs)) == (0, [])


ODD = ["", "x", "{}", "[" * 10_000, "2026-11-27", "2026-11-27T12:00:00.000000+00:00", "0001-01-01", None, True, -1, 3]
NAMES = ("job_id", "status", "version", "queue_url", "spec", "lease_expires_at", "next_try_at", "held_reason")


@given(st.sampled_from(waiting.STATES), st.dictionaries(st.sampled_from(NAMES), st.sampled_from(ODD)))
def test_any_row_is_judged(status: str, odd: dict[str, Any]) -> None:
    """Whatever stands in a row, nothing raises."""
    found = waiting.read_job(row(status) | odd, NOW)
    assert found is None or found.waits_since is None or found.waits_since <= NOW
