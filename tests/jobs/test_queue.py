"""The queue's five methods: the same claims for SQS and for the queue in memory that tests use in its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.aws import clients
from receipt_trainer.contract.waiting import body_of
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.memory_queue import MemoryQueue
from receipt_trainer.jobs.queue import VISIBILITY_S, JobQueue, Message, SqsQueue, read_body
from receipt_trainer.local.emulator import LocalCloud
from tests.fault_proxy import FaultProxy

ONE, TWO = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2))


@dataclass
class Under:
    """A queue under test, and how any text is put into it."""

    queue: JobQueue
    put: Callable[[str], None]


@pytest.fixture
def sqs(aws: LocalCloud) -> Under:
    """A fresh FIFO queue of the embedded AWS."""
    client = clients.sqs()
    attributes = {"FifoQueue": "true", "DeduplicationScope": "messageGroup"}
    attributes |= {"FifoThroughputLimit": "perMessageGroupId"}
    url = client.create_queue(QueueName=f"{uuid4().hex}.fifo", Attributes=attributes)["QueueUrl"]  # type: ignore[arg-type]

    def put(body: str) -> None:
        client.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=uuid4().hex)

    return Under(SqsQueue(client, url), put)


@pytest.fixture(params=["sqs", "memory"])
def under(request: pytest.FixtureRequest) -> Under:
    """Each of the two."""
    if request.param == "sqs":
        under: Under = request.getfixturevalue("sqs")
        return under
    queue = MemoryQueue(lambda: 0.0)
    return Under(queue, lambda body: queue.send_body(body, group="g", deduplication_id=uuid4().hex))


def test_a_message_is_received_once(under: Under) -> None:
    """What one worker has received is hidden from the others."""
    under.queue.send(ONE)
    message = under.queue.receive(0)
    assert message is not None
    assert (message.job_id, message.num_receives, message.reason) == (ONE, 1, None)
    assert under.queue.receive(0) is None


def test_jobs_do_not_wait_for_each_other(under: Under) -> None:
    """Every job is a group of its own: two can be worked on at once, in the order of their sending."""
    under.queue.send(ONE)
    under.queue.send(TWO)
    found = [under.queue.receive(0), under.queue.receive(0)]
    assert [message and message.job_id for message in found] == [ONE, TWO]


def test_a_released_message_comes_again_at_once(under: Under) -> None:
    """And it says that it is its second time."""
    under.queue.send(ONE)
    message = under.queue.receive(0)
    assert message is not None
    under.queue.release(message)
    again = under.queue.receive(0)
    assert again is not None
    assert (again.job_id, again.num_receives) == (ONE, 2)


def test_a_deleted_message_does_not_come_again(under: Under) -> None:
    """Also not after a second deletion, a release or an extension of what is gone: these are no faults."""
    under.queue.send(ONE)
    message = under.queue.receive(0)
    assert message is not None
    for call in (under.queue.delete, under.queue.delete, under.queue.release):
        call(message)
    under.queue.extend(message, 5)
    assert under.queue.receive(0) is None


def test_sending_twice_queues_once(under: Under) -> None:
    """A repeated submission is swallowed."""
    under.queue.send(ONE)
    under.queue.send(ONE)
    message = under.queue.receive(0)
    assert message is not None
    under.queue.delete(message)
    assert under.queue.receive(0) is None


def test_a_deduplication_id_outlives_its_message() -> None:
    """For five minutes, as SQS has it (the embedded one forgets it with the message): why a retry needs another."""
    now = [0.0]
    queue = MemoryQueue(lambda: now[0])
    queue.send(ONE)
    message = queue.receive(0)
    assert message is not None
    queue.delete(message)
    now[0] = 299
    queue.send(ONE)
    assert queue.num_messages() == 0
    now[0] = 300
    queue.send(ONE)
    assert queue.num_messages() == 1


def test_another_deduplication_id_queues_again(under: Under) -> None:
    """A retry within five minutes of the first message is not swallowed; it waits for the first one's end."""
    under.queue.send(ONE)
    first = under.queue.receive(0)
    assert first is not None
    under.queue.send(ONE, f"{ONE}:retry")
    assert under.queue.receive(0) is None
    under.queue.delete(first)
    second = under.queue.receive(0)
    assert second is not None
    assert second.job_id == ONE


def test_a_renewed_message_is_a_fresh_one(under: Under) -> None:
    """It is there at once, once, and has been received for the first time."""
    under.queue.send(ONE)
    for _ in range(2):
        message = under.queue.receive(0)
        assert message is not None
        assert message.num_receives == 1
        under.queue.renew(message, ONE)
    again = under.queue.receive(0)
    assert again is not None
    assert (again.job_id, again.num_receives) == (ONE, 1)
    assert under.queue.receive(0) is None


def test_a_message_that_is_gone_is_said_to_be(under: Under) -> None:
    """Hiding or releasing says whether there is still something to hide; nothing fails."""
    under.queue.send(ONE)
    message = under.queue.receive(0)
    assert message is not None
    assert under.queue.extend(message, 5)
    assert under.queue.release(message)
    under.queue.delete(message)
    assert not under.queue.extend(message, 5)
    assert not under.queue.release(message)


@pytest.mark.parametrize(
    ("said", "is_over"),
    [
        ("Message does not exist or is not available for visibility timeout change.", True),
        ("The receipt handle has expired.", True),
        ("Total VisibilityTimeout for the message is beyond the limit [43200 seconds]", False),
    ],
)
def test_sqs_own_words_for_a_receipt_that_is_over(fault_proxy: FaultProxy, said: str, is_over: bool) -> None:
    """Which the embedded AWS says otherwise: one code has many meanings, and only these are none of a fault."""
    text = f"Value AQEB for parameter ReceiptHandle is invalid. Reason: {said}"
    answer = 400, {"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": text}
    fault_proxy.rule = lambda name, count, body: answer
    queue, message = SqsQueue(clients.sqs(), f"{fault_proxy.url}/123456789012/a.fifo"), Message(ONE, "AQEB")
    if is_over:
        assert not queue.extend(message, 5)
        queue.delete(message)
    else:
        with pytest.raises(WorldError, match="beyond the limit"):
            queue.extend(message, 5)


def test_an_unreadable_message_is_given_with_its_reason(under: Under) -> None:
    """It is not dropped and raises nothing; it keeps its receipt, so that it can be hidden or released."""
    under.put("not ours")
    message = under.queue.receive(0)
    assert message is not None
    assert message.job_id is None
    assert message.reason is not None
    under.queue.extend(message, message.hide_s)
    again = under.queue.receive(0)
    assert again is not None
    assert again.num_receives == 2


@given(st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_no_text_breaks_the_reader(body: str) -> None:
    """Whatever a body is, reading it gives a message without a job and the reason."""
    message = read_body(body, "receipt", 3)
    assert (message.job_id, message.receipt, message.num_receives) == (None, "receipt", 3)
    assert message.reason
    assert message.hide_s == 0


@given(st.fixed_dictionaries({"job_id": st.text() | st.integers(), "version": st.integers(max_value=1)}))
def test_an_id_that_is_none_is_not_taken(said: dict[str, object]) -> None:
    """A job id that is no UUID, such as a path, is unreadable: it never reaches a key or a folder."""
    assert read_body(json.dumps(said), "receipt", 1).job_id is None


def test_a_newer_version_is_left_to_newer_workers() -> None:
    """It stays hidden for a while instead of using up its receives."""
    message = read_body(json.dumps({"version": 2, "job_id": ONE}), "receipt", 1)
    assert (message.job_id, message.hide_s) == (None, VISIBILITY_S)
    assert read_body(body_of(ONE), "receipt", 1).job_id == ONE


def test_a_message_comes_back_when_its_time_is_over() -> None:
    """Neither before its visibility timeout, extensions included, nor later."""
    now = [0.0]
    queue = MemoryQueue(lambda: now[0], visibility_s=300)
    queue.send(ONE)
    message = queue.receive(0)
    assert message is not None
    now[0] = 299
    queue.extend(message, 300)
    now[0] = 598
    assert queue.receive(0) is None
    now[0] = 599
    again = queue.receive(0)
    assert again is not None
    queue.delete(message)
    assert queue.num_messages() == 1, "the earlier receipt deletes nothing"
    queue.delete(again)
    assert queue.num_messages() == 0


def test_garbage_ends_as_a_dead_letter() -> None:
    """A message that is released at once, time after time, is moved away at the limit of its receives."""
    queue = MemoryQueue(lambda: 0.0, max_receives=5)
    queue.send_body("garbage", group="g", deduplication_id="1")
    seen = 0
    while (message := queue.receive(0)) is not None:
        seen += 1
        queue.extend(message, message.hide_s)
    assert (seen, queue.dead_letters) == (5, ["garbage"])


def test_a_long_poll_looks_twice() -> None:
    """A message that comes during the wait is found; the wait is passed in."""
    waited: list[int] = []

    def wait(seconds: int) -> None:
        waited.append(seconds)
        queue.send(ONE)

    queue = MemoryQueue(lambda: 0.0, wait=wait)
    assert queue.receive(20) is not None
    assert waited == [20]


def test_a_queue_that_is_not_there(aws: LocalCloud) -> None:
    """It is named, whatever is tried on it; so is a URL of no FIFO queue."""
    missing = SqsQueue(clients.sqs(), f"{aws.endpoint}/123456789012/none.fifo")
    for call in (missing.check, lambda: missing.send(ONE), lambda: missing.receive(0)):
        with pytest.raises(UserError, match=r"there is no queue .*none\.fifo"):
            call()
    with pytest.raises(UserError, match="FIFO"):
        SqsQueue(clients.sqs(), "jobs")


def test_a_queue_that_would_lose_equal_jobs_is_refused(aws: LocalCloud) -> None:
    """Content-based deduplication swallows jobs: such a queue is found before anything is stored."""
    client = clients.sqs()
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    url = client.create_queue(QueueName=f"{uuid4().hex}.fifo", Attributes=attributes)["QueueUrl"]  # type: ignore[arg-type]
    with pytest.raises(UserError, match="deduplicates by content"):
        SqsQueue(client, url).check()
