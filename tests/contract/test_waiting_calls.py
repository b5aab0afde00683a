"""Jobs without a message get one: over the wire, with the rows and messages that submitters and workers make."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.config.job_file import LayoutLMJob
from receipt_trainer.contract import waiting_calls
from receipt_trainer.contract.tables import job_pk
from receipt_trainer.contract.waiting import JobQueuePlace
from receipt_trainer.contract.waiting_calls import Healed
from receipt_trainer.jobs.model import Attempt
from receipt_trainer.jobs.queue import Message, SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.submit import new_job, retry_job, submit
from tests.queues import new_stack_queue

LATER = timedelta(minutes=6)
FIVE = timedelta(minutes=5)


@dataclass
class Stage:
    """A stack's jobs table and one of its queues."""

    table_name: str
    place: JobQueuePlace
    dynamodb: Any
    sqs: Any

    @property
    def asked(self) -> tuple[Any, Any, str]:
        """Whom a look asks."""
        return self.dynamodb, self.sqs, self.table_name

    @property
    def table(self) -> JobTable:
        return JobTable(self.dynamodb, self.table_name)

    @property
    def queue(self) -> SqsQueue:
        return SqsQueue(self.sqs, self.place.url)

    def submit(self, num_jobs: int) -> list[str]:
        spec = LayoutLMJob(job_name="a", model="tiny")
        return [submit(new_job(spec, self.place.url), self.table, self.queue).job_id for _ in range(num_jobs)]

    def lose(self, job_id: str) -> None:
        """Let one job's message vanish; the others are as they were."""
        kept: list[Message] = []
        while (message := self.queue.receive(0)) is not None:
            if message.job_id == job_id:
                self.queue.delete(message)
            else:
                kept.append(message)
        for message in kept:
            self.queue.release(message)

    def heal(self, now: datetime, *places: JobQueuePlace) -> Healed:
        """One look, as the function and the command take it."""
        return waiting_calls.heal(*self.asked, waiting_calls.survey(*self.asked, places or (self.place,), now))

    def heal_twice(self, *places: JobQueuePlace) -> Healed:
        """Two looks, five minutes apart; what the second did."""
        now = datetime.now(UTC) + LATER
        assert self.heal(now, *places).sent == {}
        return self.heal(now + FIVE, *places)

    def work(self, place: JobQueuePlace | None = None) -> list[str]:
        """Take every message as workers do; ids of the jobs that were trained, one for each time."""
        queue, trained = SqsQueue(self.sqs, (place or self.place).url), []
        while (message := queue.receive(0)) is not None:
            assert message.job_id is not None
            claim = self.table.claim(message.job_id, f"w-{uuid4()}", 60, {})
            if isinstance(claim, Attempt):
                self.table.succeed(claim, None, None)
                trained.append(message.job_id)
            queue.delete(message)
        return trained

    def set(self, job_id: str, **texts: str) -> None:
        """Change a job's row by hand."""
        self.dynamodb.update_item(
            TableName=self.table_name,
            Key={"PK": {"S": job_pk(job_id)}, "SK": {"S": "JOB"}},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in texts),
            ExpressionAttributeNames={f"#{name}": name for name in texts},
            ExpressionAttributeValues={f":{name}": {"S": text} for name, text in texts.items()},
        )


def make_queue() -> str:
    return new_stack_queue(f"queues-cpu-normal-{uuid4().hex[:7]}")


@pytest.fixture
def stage(jobs_table: str) -> Stage:
    dynamodb, sqs = clients.dynamodb(), clients.sqs()
    return Stage(jobs_table, JobQueuePlace("cpu", "normal", make_queue()), dynamodb, sqs)


def test_ten_wait_and_one_message_in_the_middle_is_gone(stage: Stage) -> None:
    """After two looks each of the ten can be taken, and is trained once: what is sent too much is refused."""
    ten = stage.submit(10)
    stage.lose(ten[5])
    healed = stage.heal_twice()
    assert sorted(healed.sent["cpu-normal"]) == sorted(ten)
    assert sorted(stage.work()) == sorted(ten)


def test_where_no_message_is_missing_nothing_is_sent(stage: Stage) -> None:
    """Looks by two at once, one after the other, for hours: the queue holds as many messages as before."""
    stage.submit(3)
    now = datetime.now(UTC) + LATER
    for number in range(8):
        assert stage.heal(now + number // 2 * FIVE) == Healed({}, {}, {})
    assert waiting_calls.count(stage.sqs, stage.place.url).total == 3


def test_two_heal_at_once(stage: Stage) -> None:
    """The function and a person at the same moment: messages too many, and every job is trained once."""
    three = stage.submit(3)
    stage.lose(three[1])
    now = datetime.now(UTC) + LATER
    stage.heal(now)
    both = [waiting_calls.survey(*stage.asked, [stage.place], now + FIVE) for _ in range(2)]
    assert all(waiting_calls.heal(*stage.asked, one).sent for one in both)
    assert sorted(stage.work()) == sorted(three)


def test_a_running_jobs_message_stands_for_no_other(stage: Stage) -> None:
    """One job runs and its message is hidden; of the two that wait one has none: both get one, the running job none."""
    runs, waits, lacks = stage.submit(3)
    stage.lose(lacks)
    first = stage.queue.receive(0)
    assert first is not None
    assert first.job_id == runs
    claim = stage.table.claim(runs, "w", 3600, {})
    assert isinstance(claim, Attempt)
    assert sorted(stage.heal_twice().sent["cpu-normal"]) == sorted([waits, lacks])


def test_a_job_whose_worker_vanished_with_its_message(stage: Stage) -> None:
    """Its state is RUNNING for ever, its lease is over and no message leads to it: it waits, and is taken over."""
    [lost] = stage.submit(1)
    stage.lose(lost)
    claim = stage.table.claim(lost, "w", 0.01, {})
    assert isinstance(claim, Attempt)
    stage.table.start(claim, 0)
    assert stage.heal_twice().sent == {"cpu-normal": [lost]}
    assert stage.work() == [lost]


def test_a_submit_that_was_killed_between_row_and_message(stage: Stage) -> None:
    """The process ends by SIGKILL as it sends: its job is stored, and is trained after two looks."""
    code = (
        "import os, signal, sys; from receipt_trainer.aws import clients; from receipt_trainer.jobs import submit; "
        "sqs = clients.sqs(); "
        "sqs.meta.events.register('before-call.sqs.SendMessage', lambda **_: os.kill(os.getpid(), signal.SIGKILL)); "
        "submit.submit_training_job(queue_url=sys.argv[1], model_name='tiny', client_token='t', sqs=sqs)"
    )
    killed = subprocess.run([sys.executable, "-c", code, stage.place.url], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert stage.work() == []
    [sent] = stage.heal_twice().sent["cpu-normal"]
    assert stage.work() == [sent]


def test_a_retry_that_was_cut_off_between_row_and_message(stage: Stage) -> None:
    """A FAILED job is PENDING again and nobody was told: it is trained after two looks."""
    [failed] = stage.submit(1)
    stage.lose(failed)
    claim = stage.table.claim(failed, "w", 60, {})
    assert isinstance(claim, Attempt)
    stage.table.fail(claim, "a mistake", final=True)
    assert stage.heal_twice().sent == {}
    stage.table.retry(failed)  # and its caller dies before it sends
    assert stage.heal_twice().sent == {"cpu-normal": [failed]}
    assert stage.work() == [failed]


def test_a_stack_that_rested_and_came_back_with_new_queues(stage: Stage) -> None:
    """The jobs table was kept, the queues were not: what waited is in the new queue after one look, its row says so,
    and `retry` finds its way; a job of somebody else's queue stays where it is."""
    waits, other = stage.submit(2)
    stage.set(other, queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/ours.fifo")
    stage.sqs.delete_queue(QueueUrl=stage.place.url)
    new = JobQueuePlace("cpu", "normal", make_queue())
    assert stage.heal(datetime.now(UTC), new).moved == {}  # it waits for less than five minutes
    healed = stage.heal(datetime.now(UTC) + LATER, new)
    assert (healed.moved, healed.sent, healed.faults) == ({"cpu-normal": [waits]}, {}, {})
    assert stage.table.get(waits).queue_url == new.url
    assert stage.table.get(other).queue_url != new.url
    retry_job(waits, jobs_table=stage.table_name)
    assert stage.work(new) == [waits]


def test_a_job_that_was_taken_meanwhile_is_not_moved(stage: Stage) -> None:
    """Between the look and its writing somebody cancels the job: its row stays as that left it."""
    [job_id] = stage.submit(1)
    new = JobQueuePlace("cpu", "normal", make_queue())
    found = waiting_calls.survey(*stage.asked, [new], datetime.now(UTC) + LATER)
    assert len(found.homeless) == 1
    stage.table.cancel(job_id)
    assert waiting_calls.heal(*stage.asked, found) == Healed({}, {}, {})
    assert stage.table.get(job_id).queue_url == stage.place.url


@pytest.mark.parametrize(
    "odd",
    [
        {"spec": "{no JSON"},
        {"status": "PAUSED"},
        {"lease_expires_at": "soon"},
        {"status": "INTERRUPTED", "held_reason": "not delivered for 14 days"},
        {"status": "INTERRUPTED", "next_try_at": "2099-01-01T00:00:00.000000+00:00"},
    ],
)
def test_who_is_left_alone(stage: Stage, odd: dict[str, str]) -> None:
    """A row that cannot be read, a held job, and a run whose next try is not due get no message; the job beside it,
    whose message is gone, does, also while a worker hides what there is of theirs."""
    left, lacks = stage.submit(2)
    stage.set(left, **odd)
    stage.lose(lacks)
    hidden = stage.queue.receive(0)
    assert hidden is not None
    if "held_reason" in odd:
        stage.queue.delete(hidden)
    assert stage.heal_twice().sent == {"cpu-normal": [lacks]}


def test_a_queue_that_cannot_be_counted_stops_no_other(stage: Stage) -> None:
    """A queue that is not there is among the faults; the other one is looked at."""
    [lacks] = stage.submit(1)
    stage.lose(lacks)
    gone = JobQueuePlace("cpu", "high", stage.place.url.replace("normal", "high"))
    healed = stage.heal_twice(gone, stage.place)
    assert healed.sent == {"cpu-normal": [lacks]}
    assert list(healed.faults) == ["cpu-high"]
