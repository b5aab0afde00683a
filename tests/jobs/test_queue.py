"""The job queue on SQS."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.aws import clients
from receipt_trainer.contract.waiting import BODY_VERSION, body_of
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.queue import VISIBILITY_S, Message, SqsQueue, read_body
from receipt_trainer.local.emulator import LocalCloud
from tests.fault_proxy import FaultProxy
from tests.queues import new_queue

ONE, TWO = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2))


@pytest.fixture
def queue(queue_url: str) -> SqsQueue:
    """A fresh queue."""
    return SqsQueue(clients.sqs(), queue_url)


def test_a_message_is_received_once(queue: SqsQueue) -> None:
    """What one worker has received is hidden from the others."""
    queue.send(ONE)
    message = queue.receive(0)
    assert message is not None
    assert (message.job_id, message.num_receives, message.reason) == (ONE, 1, None)
    assert queue.receive(0) is None


def test_jobs_do_not_wait_for_each_other(queue: SqsQueue) -> None:
    """Every job is a group of its own: two can be worked on at once, in the order of their sending."""
    queue.send(ONE)
    queue.send(TWO)
    found = [queue.receive(0), queue.receive(0)]
    assert [message and message.job_id for message in found] == [ONE, TWO]


def test_a_released_message_comes_again_at_once(queue: SqsQueue) -> None:
    """And it says that it is its second time."""
    queue.send(ONE)
    message = queue.receive(0)
    assert message is not None
    queue.release(message)
    again = queue.receive(0)
    assert again is not None
    assert (again.job_id, again.num_receives) == (ONE, 2)


def test_a_deleted_message_does_not_come_again(queue: SqsQueue) -> None:
    """Also not after a second deletion, a release or an extension of what is gone: these are no faults."""
    queue.send(ONE)
    message = queue.receive(0)
    assert message is not None
    for call in (queue.delete, queue.delete, queue.release):
        call(message)
    queue.extend(message, 5)
    assert queue.receive(0) is None


def test_sending_twice_queues_once(queue: SqsQueue) -> None:
    """A repeated submission is swallowed."""
    queue.send(ONE)
    queue.send(ONE)
    message = queue.receive(0)
    assert message is not None
    queue.delete(message)
    assert queue.receive(0) is None


def test_another_deduplication_id_queues_again(queue: SqsQueue) -> None:
    """A retry within five minutes of the first message is not swallowed; it waits for the first one's end."""
    queue.send(ONE)
    first = queue.receive(0)
    assert first is not None
    queue.send(ONE, f"{ONE}:retry")
    assert queue.receive(0) is None
    queue.delete(first)
    second = queue.receive(0)
    assert second is not None
    assert second.job_id == ONE


def test_a_renewed_message_is_a_fresh_one(queue: SqsQueue) -> None:
    """It is there at once, once, and has been received for the first time."""
    queue.send(ONE)
    for _ in range(2):
        message = queue.receive(0)
        assert message is not None
        assert message.num_receives == 1
        queue.renew(message, ONE, 1)
    again = queue.receive(0)
    assert again is not None
    assert (again.job_id, again.num_receives) == (ONE, 1)
    assert queue.receive(0) is None


def test_a_message_that_is_gone_is_said_to_be(queue: SqsQueue) -> None:
    """Hiding or releasing says whether there is still something to hide; nothing fails."""
    queue.send(ONE)
    message = queue.receive(0)
    assert message is not None
    assert queue.extend(message, 5)
    assert queue.release(message)
    queue.delete(message)
    assert not queue.extend(message, 5)
    assert not queue.release(message)


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


def test_an_unreadable_message_is_given_with_its_reason(queue: SqsQueue, queue_url: str) -> None:
    """It is not dropped and raises nothing; it keeps its receipt, so that it can be hidden or released."""
    clients.sqs().send_message(
        QueueUrl=queue_url, MessageBody="not ours", MessageGroupId="g", MessageDeduplicationId="1"
    )
    message = queue.receive(0)
    assert message is not None
    assert message.job_id is None
    assert message.reason is not None
    queue.extend(message, message.hide_s)
    again = queue.receive(0)
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
    message = read_body(json.dumps({"version": BODY_VERSION + 1, "job_id": ONE}), "receipt", 1)
    assert (message.job_id, message.hide_s) == (None, VISIBILITY_S)
    assert read_body(body_of(ONE), "receipt", 1).job_id == ONE


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
    url = new_queue(ContentBasedDeduplication="true")
    with pytest.raises(UserError, match="deduplicates by content"):
        SqsQueue(clients.sqs(), url).check()
