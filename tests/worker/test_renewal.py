"""A waiting job's message outlives SQS's hundred receives, its fourteen days, and a purge of the queue."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.autoscaling import GroupMember
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract import waiting_calls
from receipt_trainer.contract.tables import iso, job_pk
from receipt_trainer.contract.waiting import QueuedJob, new_deduplication_id
from receipt_trainer.jobs.model import Attempt, Job
from receipt_trainer.jobs.queue import RENEW_AGE, RENEW_RECEIVES, Message
from receipt_trainer.worker.finalize import Claimed, Conclusion, Ending, Left
from receipt_trainer.worker.interruptions import Interruption
from receipt_trainer.worker.loop import AGAIN_S, STOPPED, Renewal
from tests.fault_proxy import FaultProxy
from tests.queues import new_queue
from tests.strikes import forget
from tests.waiting import wait_for
from tests.worker.bench import Bench, Running
from tests.worker.test_stopped_pool import NAMED, bounds

NUM_INTERRUPTIONS = 101
"""More than the hundred receives after which SQS takes a message away."""
LATER = utc_now() + timedelta(hours=1)


def redrive(bench: Bench) -> str:
    """Give the queue a dead-letter queue as the stack has it; returns its URL."""
    sqs = clients.sqs()
    url = new_queue()
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 100})
    sqs.set_queue_attributes(QueueUrl=bench.queue_url, Attributes={"RedrivePolicy": policy})
    return url


def received(bench: Bench) -> Message:
    """The message that is there."""
    message = bench.queue.receive(0)
    assert message is not None
    return message


def num_visible(bench: Bench) -> int:
    wanted = clients.sqs().get_queue_attributes(
        QueueUrl=bench.queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(wanted["Attributes"]["ApproximateNumberOfMessages"])


def in_future(by: timedelta) -> Callable[[], datetime]:
    return lambda: utc_now() + by


def renewal(bench: Bench, clock: Callable[[], float] = lambda: 0.0, later: timedelta = timedelta(0)) -> Renewal:
    return Renewal(bench.table, clock, in_future(later))


def test_a_job_outlives_any_number_of_interruptions(bench: Bench) -> None:
    """Each is a receive; after more than SQS allows it is in the queue, and a worker trains it to its end."""
    dead, job_id = redrive(bench), bench.submit(num_epochs=1)
    job, now = bench.table.get(job_id), [0.0]
    renews = renewal(bench, lambda: now[0])
    num_renewed = num_interrupted = 0
    while num_interrupted < NUM_INTERRUPTIONS:
        message = received(bench)
        if renews.renew(bench.queue, message):
            num_renewed, now[0] = num_renewed + 1, now[0] + AGAIN_S
            continue
        attempt = bench.table.claim(job_id, "worker", 60, {})
        assert isinstance(attempt, Attempt)
        claimed = Claimed(job, attempt, bench.queue, message)
        conclusion = Conclusion(bench.settings, bench.table, claimed, bench.run_dir(job_id))
        assert conclusion.write(Ending("interrupted", "spot notice")) == Left("INTERRUPTED")
        num_interrupted += 1
    assert num_renewed == NUM_INTERRUPTIONS // (RENEW_RECEIVES - 1) > 1
    bench.worker().run()
    assert bench.table.get(job_id).status == "SUCCEEDED"
    assert bench.num_messages() == 0
    assert "Messages" not in clients.sqs().receive_message(QueueUrl=dead)


def test_a_message_is_renewed_in_time_and_keeps_its_job(bench: Bench) -> None:
    """By its receives or its age, whichever comes first; the new one has been received once and is young."""
    job_id = bench.submit()
    message = received(bench)
    just_young, just_old = RENEW_AGE - timedelta(minutes=5), RENEW_AGE
    assert not renewal(bench, later=just_young).renew(bench.queue, message)
    assert not renewal(bench).renew(bench.queue, replace(message, num_receives=RENEW_RECEIVES - 1))
    assert renewal(bench, later=just_old).renew(bench.queue, message)
    again = received(bench)
    assert (again.job_id, again.num_receives) == (job_id, 1)
    assert again.receipt != message.receipt
    assert renewal(bench).renew(bench.queue, replace(again, num_receives=RENEW_RECEIVES))
    assert received(bench).num_receives == 1
    assert bench.num_messages() == 1


def test_a_worker_whose_time_of_day_is_wrong_renews_once(bench: Bench) -> None:
    """Weeks ahead, every message looks old: each is renewed once an hour, and its job trained."""
    job_id = bench.submit(num_epochs=1)
    worker = bench.worker(now=in_future(timedelta(days=60)))
    assert worker.run() == "idle for 0 s"
    assert bench.table.get(job_id).status == "SUCCEEDED"
    assert bench.num_messages() == 0


def test_a_message_that_a_stopped_pool_gives_back_is_a_fresh_one(bench: Bench) -> None:
    """A worker that goes at once gives back what it has renewed."""
    job_id = bench.submit()
    bench.queue.release(received(bench))
    client = boto3.client("autoscaling", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stubber:
        stubber.add_response("describe_auto_scaling_groups", bounds(0), NAMED)
        ended = {"InstanceId": "i-1", "ShouldDecrementDesiredCapacity": False}
        stubber.add_response("terminate_instance_in_auto_scaling_group", {}, ended)
        worker = bench.worker(member=GroupMember(client, "group", "i-1"), now=in_future(RENEW_AGE))
        assert worker.run() == STOPPED
        stubber.assert_no_pending_responses()
    found = received(bench)
    assert (found.job_id, found.num_receives) == (job_id, 2)
    assert bench.table.get(job_id).attempt == 0


@pytest.mark.parametrize(
    ("change", "is_renewed"),
    [
        ({"status": "INTERRUPTED"}, True),
        ({"status": "CLAIMED", "lease_expires_at": iso(LATER)}, True),
        ({"status": "SUCCEEDED"}, False),
        ({"status": "FAILED"}, False),
        ({"status": "CANCELLED"}, False),
        ({"status": "INTERRUPTED", "held_reason": "14 days"}, False),
        ({"status": "PAUSED"}, False),
        (None, False),
    ],
)
def test_only_a_job_that_has_something_to_do_keeps_a_message(
    bench: Bench, change: dict[str, Any] | None, is_renewed: bool
) -> None:
    """What is done needs none, and what no worker can read, or this table does not know, is for the dead letters."""
    job_id = bench.submit()
    if change is None:
        key = dynamo.serialise({"PK": job_pk(job_id), "SK": "JOB"})
        bench.dynamodb.delete_item(TableName=bench.settings.jobs_table, Key=key)
    else:
        (row,) = bench.rows(job_id, "JOB")
        dynamo.put(bench.dynamodb, bench.settings.jobs_table, row | change, "change the job")
    worn = replace(received(bench), num_receives=RENEW_RECEIVES)
    assert renewal(bench).renew(bench.queue, worn) is is_renewed


def test_a_removal_that_fails_leaves_one_message_too_many_and_never_two_at_once(
    fault_proxy: FaultProxy, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one still holds the group; the new one is delivered only when the old one is gone."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    queue = type(bench.queue)(clients.sqs(), bench.queue_url)
    bench.submit()
    message = received(bench)
    worn = replace(message, num_receives=RENEW_RECEIVES)
    fault_proxy.rule = lambda name, count, body: (503, {"message": "away"}) if name == "DeleteMessage" else None
    assert not renewal(bench).renew(queue, worn), "it is handled as it is"
    fault_proxy.rule = lambda name, count, body: None
    assert bench.num_messages() == 2
    assert bench.queue.receive(0) is None
    bench.queue.release(message)
    assert received(bench).num_receives == 2
    bench.queue.delete(message)
    assert received(bench).num_receives == 1


def test_a_table_that_is_away_costs_no_message(
    fault_proxy: FaultProxy, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failed claims are receives, too: where nobody knows what the job is, its message is renewed."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    bench.submit()
    worn = replace(received(bench), num_receives=RENEW_RECEIVES)
    away = Bench(bench.queue_url, bench.settings.jobs_table, Path(), bench.folder, bench.command)
    fault_proxy.rule = lambda name, count, body: (503, {"message": "away"}) if name == "Query" else None
    assert renewal(away).renew(bench.queue, worn)
    assert received(bench).num_receives == 1


def test_a_message_that_is_gone_is_sent_anew_when_its_job_waits_again(
    bench: Bench, hold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is purged while the job trains; the interrupted job has a message, and the next worker goes on."""
    job_id = bench.submit()
    first = Running(bench.worker("first"))
    wait_for(hold.exists)
    clients.sqs().purge_queue(QueueUrl=bench.queue_url)
    first.worker.interrupt(Interruption("signal", "SIGTERM"))
    first.end()
    assert bench.table.get(job_id).status == "INTERRUPTED"
    assert bench.num_messages() == 1
    forget(monkeypatch, "hold")
    bench.worker("second").run()
    job = bench.table.get(job_id)
    assert (job.status, job.attempt) == ("SUCCEEDED", 2)
    assert bench.attempts(job_id)[1]["start_step"] == 7
    assert bench.num_messages() == 0


@pytest.mark.parametrize("is_first_late", [False, True])
def test_a_message_too_many_goes_while_its_job_is_trained(bench: Bench, hold: Path, is_first_late: bool) -> None:
    """Whichever came first: left there, it would count as a waiting job, and have instances launched, until the end."""
    job_id = bench.submit()
    late = received(bench) if is_first_late else None
    if late is not None:
        waiting_calls.send(clients.sqs(), bench.queue_url, [QueuedJob(job_id, "PENDING", 0, bench.queue_url, None)])
    first = Running(bench.worker("first"))
    wait_for(hold.exists)
    if late is None:
        waiting_calls.send(clients.sqs(), bench.queue_url, [QueuedJob(job_id, "PENDING", 0, bench.queue_url, None)])
    else:
        bench.queue.release(late)
    assert bench.num_messages() == 2
    assert bench.worker("second").run() == "idle for 0 s"
    assert bench.num_messages() == 1
    first.worker.interrupt(Interruption("signal", "SIGTERM"))
    first.end()
    assert received(bench).job_id == job_id
    assert [row["outcome"] for row in bench.attempts(job_id)] == ["INTERRUPTED"]


def test_the_message_of_a_trained_job_that_comes_back_is_kept(bench: Bench, hold: Path) -> None:
    """Its worker could not hide it in time: another one only hides it, as nobody else has one."""
    job_id = bench.submit()
    first = Running(bench.worker("first", beat_s=30.0, visibility_s=1))
    wait_for(hold.exists)
    wait_for(lambda: num_visible(bench) == 1)
    assert bench.worker("second").run() == "idle for 0 s"
    assert bench.num_messages() == 1
    first.worker.interrupt(Interruption("signal", "SIGTERM"))
    first.end()
    assert bench.table.get(job_id).status == "INTERRUPTED"
    assert bench.num_messages() >= 1


def test_a_job_that_ends_without_its_message_needs_none(bench: Bench, hold: Path) -> None:
    """Cancelled after a purge: nothing is sent."""
    job_id = bench.submit()
    first = Running(bench.worker("first"))
    wait_for(hold.exists)
    clients.sqs().purge_queue(QueueUrl=bench.queue_url)
    bench.table.cancel(job_id)
    first.end()
    assert bench.table.get(job_id).status == "CANCELLED"
    assert bench.num_messages() == 0


def test_deduplication_ids_are_never_used_twice() -> None:
    """And they fit into the 128 characters that SQS takes."""
    job = Job("00000000-0000-4000-8000-000000000001", "n", "PENDING")
    ids = {new_deduplication_id(job.job_id) for _ in range(1000)}
    assert len(ids) == 1000
    assert max(map(len, ids)) <= 128


def test_ages_are_counted_from_the_sending(bench: Bench) -> None:
    """`sent_at` is the moment of `send`, not that of the receive."""
    before = utc_now() - timedelta(seconds=1)
    bench.submit()
    after = utc_now() + timedelta(seconds=1)
    message = received(bench)
    bench.queue.release(message)
    sent_at = received(bench).sent_at
    assert isinstance(sent_at, datetime)
    assert before <= sent_at == message.sent_at <= after
