"""Jobs without a message on the tables and queues of a stack that stands, and how they get one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.contract import waiting_calls
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.contract.tables import JOBS, iso
from receipt_trainer.contract.waiting import JobQueuePlace
from receipt_trainer.doctor import workers_and_jobs
from receipt_trainer.doctor.subject import Subject
from receipt_trainer.jobs.queue import SqsQueue
from tests.cli.jobs import add_job
from tests.doctor.conftest import levels, look, with_outputs
from tests.queues import new_queue

MINUTE = timedelta(minutes=1)


@pytest.fixture(name="subject")
def with_own_queues(subject: Subject) -> Iterator[Subject]:
    """The stack with an empty jobs table and one pool, whose queues are empty."""
    assert subject.outputs
    dynamodb, pool = clients.dynamodb(), subject.outputs.pools["gpu"]
    urls = {kind: new_queue(f"queues-gpu-{kind}-{uuid4().hex[:7]}") for kind in ("high", "normal")}
    table = f"jobs-{uuid4().hex[:8]}"
    dynamodb.create_table(**JOBS.create_arguments(table))
    yield with_outputs(subject, jobs_table=table, pools={"gpu": pool.model_copy(update={"queue_urls": urls})})
    dynamodb.delete_table(TableName=table)


@pytest.fixture
def outputs(subject: Subject) -> StackOutputs:
    assert subject.outputs
    return subject.outputs


@pytest.fixture
def place(outputs: StackOutputs) -> JobQueuePlace:
    """The queue gpu-normal."""
    return next(one for one in outputs.places() if one.priority == "normal")


@pytest.fixture
def queue(place: JobQueuePlace) -> SqsQueue:
    return SqsQueue(clients.sqs(), place.url)


def add_jobs(outputs: StackOutputs, url: str, num_jobs: int, **more: object) -> list[str]:
    return [add_job(outputs.jobs_table, minutes=minute, queue_url=url, version=1, **more) for minute in range(num_jobs)]


def function_looks(outputs: StackOutputs, place: JobQueuePlace, age: timedelta) -> None:
    """A look of the stack's function, so long ago."""
    asked = clients.dynamodb(), clients.sqs(), outputs.jobs_table
    waiting_calls.heal(*asked, waiting_calls.survey(*asked, [place], datetime.now(UTC) - age))


def test_jobs_without_a_message(subject: Subject, outputs: StackOutputs, place: JobQueuePlace, queue: SqsQueue) -> None:
    """Fewer messages than jobs are a warning with the command that mends it, and say whether the stack's function
    will; a message that a worker has counts."""
    jobs = add_jobs(outputs, place.url, 5)
    for job_id in jobs[1:]:
        queue.send(job_id)
    found = look(workers_and_jobs.look_at_messages, subject)
    assert levels(found) == ["ok", "warning"]
    assert found[1].text.startswith("5 jobs wait in gpu-normal, 4 messages: the stack's function")
    assert found[1].text.endswith("has not looked yet")
    assert found[1].remedies == ("receipt-trainer doctor --heal --stack dev",)
    function_looks(outputs, place, MINUTE)
    assert "they get a new one within ten minutes" in look(workers_and_jobs.look_at_messages, subject)[1].text
    queue.send(jobs[0])
    queue.receive(0)
    assert levels(look(workers_and_jobs.look_at_messages, subject)) == ["ok", "ok"]


def test_a_job_that_was_just_queued_is_no_warning(
    subject: Subject, outputs: StackOutputs, place: JobQueuePlace
) -> None:
    """Its message may be on its way."""
    add_jobs(outputs, place.url, 1, updated_at=iso(datetime.now(UTC)))
    assert levels(look(workers_and_jobs.look_at_messages, subject)) == ["ok", "ok"]


def test_jobs_that_wait_elsewhere(
    subject: Subject, outputs: StackOutputs, place: JobQueuePlace, queue: SqsQueue
) -> None:
    """A queue that is gone, one that the stack does not have, and a row that no worker can read are named."""
    [moved] = add_jobs(outputs, place.url.rpartition("-")[0] + "-0000000.fifo", 1)
    [stray] = add_jobs(outputs, place.url.replace("queues-gpu", "queues-cpu"), 1)
    [odd] = add_jobs(outputs, place.url, 1, spec="{")
    queue.send(odd)
    found = [one for one in look(workers_and_jobs.look_at_messages, subject) if one.level == "warning"]
    assert [one.remedies[0] for one in found] == [
        f"receipt-trainer job-status --stack dev {odd}",
        "receipt-trainer doctor --heal --stack dev",
        f"receipt-trainer cancel --stack dev {stray}",
    ]
    assert [job in one.text for job, one in zip((odd, moved, stray), found, strict=True)] == [True, True, True]


def test_jobs_that_are_held(subject: Subject, outputs: StackOutputs, place: JobQueuePlace) -> None:
    """They wait for no message, and each is named with the command that delivers it."""
    [job_id] = add_jobs(outputs, place.url, 1, status="INTERRUPTED", held_reason="AccessDenied")
    [found] = [one for one in look(workers_and_jobs.look_at_messages, subject) if one.level == "warning"]
    assert found.text.startswith(f"jobs are held, their complete runs are not delivered: {job_id}")
    assert found.remedies == (f"receipt-trainer retry --stack dev {job_id}",)


def test_a_queue_that_is_not_there_hides_no_other(
    subject: Subject, outputs: StackOutputs, place: JobQueuePlace
) -> None:
    """The jobs of the other queue are looked at."""
    add_jobs(outputs, place.url, 1)
    high = next(one for one in outputs.places() if one.priority == "high")
    clients.sqs().delete_queue(QueueUrl=high.url)
    assert levels(look(workers_and_jobs.look_at_messages, subject)) == ["warning", "failure"]


class Time:
    """A clock that only `sleep` moves, and what was said."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.slept_s = 0.0
        self.said: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.slept_s += seconds

    def heal(self, outputs: StackOutputs) -> waiting_calls.Healed:
        """As the command does it."""
        asked = clients.dynamodb(), clients.sqs(), self.said.append, self.said.append
        return workers_and_jobs.heal(outputs, *asked, clock=lambda: self.now, sleep=self.sleep)


def test_healing_waits_for_a_second_look(outputs: StackOutputs, place: JobQueuePlace, queue: SqsQueue) -> None:
    """Nobody has looked before: five minutes pass, which is said, then all that wait get a message."""
    jobs = add_jobs(outputs, place.url, 3)
    for job_id in jobs[1:]:
        queue.send(job_id)
    time = Time()
    assert sorted(time.heal(outputs).sent["gpu-normal"]) == sorted(jobs)
    assert time.slept_s == 300
    assert "gpu-normal: a second look, five minutes after the first, must agree" in "\n".join(time.said)
    assert "the second look comes in 4 min 45 s" in time.said
    assert waiting_calls.count(clients.sqs(), place.url).total == 5


def test_healing_goes_on_from_the_functions_look(outputs: StackOutputs, place: JobQueuePlace) -> None:
    """The function's look of two minutes ago is the first: three minutes are left; one of six minutes ago is enough."""
    jobs, sqs = add_jobs(outputs, place.url, 1), clients.sqs()
    function_looks(outputs, place, 2 * MINUTE)
    time = Time()
    assert time.heal(outputs).sent == {"gpu-normal": jobs}
    assert 170 < time.slept_s <= 180
    for message in sqs.receive_message(QueueUrl=place.url)["Messages"]:
        sqs.delete_message(QueueUrl=place.url, ReceiptHandle=message["ReceiptHandle"])
    function_looks(outputs, place, 6 * MINUTE)
    time = Time()
    assert time.heal(outputs).sent == {"gpu-normal": jobs}
    assert time.slept_s == 0


def test_where_nothing_is_missing_nobody_waits(outputs: StackOutputs, place: JobQueuePlace, queue: SqsQueue) -> None:
    """One look, and nothing is sent."""
    [job_id] = add_jobs(outputs, place.url, 1)
    queue.send(job_id)
    time = Time()
    assert time.heal(outputs) == waiting_calls.Healed({}, {}, {})
    assert time.said == ["0 jobs wait in gpu-high, 0 messages", "1 job waits in gpu-normal, 1 message"]
    assert time.slept_s == 0


def test_what_comes_back_meanwhile_is_not_sent_again(
    outputs: StackOutputs, place: JobQueuePlace, queue: SqsQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the command waits the message comes from elsewhere: the second look says so."""
    [job_id] = add_jobs(outputs, place.url, 1)
    time = Time()
    real = time.sleep

    def sleep(seconds: float) -> None:
        if time.slept_s == 0:
            queue.send(job_id)
        real(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    assert time.heal(outputs).sent == {}
    assert time.said[-1] == "1 job waits in gpu-normal, 1 message: no message is missing now"


def test_jobs_of_a_queue_that_is_gone_need_no_second_look(outputs: StackOutputs, place: JobQueuePlace) -> None:
    """They go to the new queue at once."""
    jobs = add_jobs(outputs, place.url.rpartition("-")[0] + "-0000000.fifo", 1)
    time = Time()
    assert (time.heal(outputs).moved, time.slept_s) == ({"gpu-normal": jobs}, 0)
