"""Notices on the embedded AWS: the function's code sends what the jobs table keeps to a topic, and a queue hears it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from infra.functions.silent_instances import notices as function
from receipt_trainer.aws import clients
from receipt_trainer.contract import notices
from receipt_trainer.jobs.model import Attempt, Job
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.local.emulator import LocalCloud
from tests.infra.edits import stack
from tests.infra.looks import direct, refuse, with_answers

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Office:
    """A jobs table, a topic, and a queue that is subscribed to it."""

    def __init__(self, aws: LocalCloud, table: str) -> None:
        self.now, self._sqs = NOON, aws.client("sqs")
        topic = aws.client("sns").create_topic(Name=f"notices-{uuid4().hex[:8]}")["TopicArn"]
        self._url = self._sqs.create_queue(QueueName=f"heard-{uuid4().hex[:8]}")["QueueUrl"]
        answer = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=answer["Attributes"]["QueueArn"])
        self.rules = function.NoticeRules(table=table, topic=topic, stack="dev")
        self.jobs = JobTable(clients.dynamodb(), table, clock=lambda: self.now, sleep=lambda seconds: None)

    def cancel(self, job_id: str) -> None:
        """A job that asks for a notice is submitted and cancelled, a second after the one before."""
        self.now += timedelta(seconds=1)
        self.jobs.create(Job(job_id, f"name-{job_id}", "PENDING", queue_url="q", spec={"notify": True}))
        self.jobs.cancel(job_id)

    def send(self, client: Callable[[str], Any] = direct, **given: Any) -> list[str]:
        """One run of the function; ids of the jobs whose notice was sent."""
        return function.send(self.rules, client, self.now, **given)["notified"]

    def heard(self) -> list[dict[str, Any]]:
        """What reached the queue, in no order."""
        found = []
        while answer := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in answer:
                found.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return found


@pytest.fixture
def office(aws: LocalCloud, jobs_table: str) -> Office:
    return Office(aws, jobs_table)


def test_a_notice_is_sent_and_gone(office: Office) -> None:
    """Subscribers get subject, text with the job's dollars, and attributes to choose by; the next run sends nothing."""
    office.jobs.create(Job("0b1c", "seven-labels", "PENDING", queue_url="q", spec={"notify": True}))
    attempt = office.jobs.claim("0b1c", "w", 60, {"price_usd_per_h": 0.36})
    assert isinstance(attempt, Attempt)
    office.now += timedelta(minutes=30)
    office.jobs.succeed(attempt, 0.9, "s3://a/b")
    assert office.send() == ["0b1c"]
    (heard,) = office.heard()
    assert heard["Subject"] == "seven-labels SUCCEEDED, F1 0.900 (stack dev)"
    assert "cost:    $0.18 (30 min 0 s of instance time in 1 attempt)\n" in heard["Message"]
    assert {name: value["Value"] for name, value in heard["MessageAttributes"].items()} == {
        "state": "SUCCEEDED",
        "job_name": "seven-labels",
    }
    assert (office.send(), office.heard()) == ([], [])


def test_a_notice_that_cannot_be_sent_is_kept_and_stops_no_other(office: Office) -> None:
    """One of three is refused: the two others are sent, the run fails, and the next one sends the third."""
    for job_id in ("a", "b", "c"):
        office.cancel(job_id)

    def publish(**asked: Any) -> Any:
        return (refuse("Throttled") if "name-b" in asked["Subject"] else direct("sns").publish)(**asked)

    with pytest.raises(RuntimeError, match=r"#b#.*Throttled"):
        office.send(with_answers("sns", publish=publish))
    assert {one["MessageAttributes"]["job_name"]["Value"] for one in office.heard()} == {"name-a", "name-c"}
    assert office.send() == ["b"]


def test_a_notice_whose_row_stays_is_sent_again(office: Office) -> None:
    """At least once: where the row cannot be deleted, or the run is cut off before, the notice comes twice."""
    office.cancel("a")
    with pytest.raises(RuntimeError, match="Throttled"):
        office.send(with_answers("dynamodb", delete_item=refuse("Throttled")))
    assert office.send() == ["a"]
    assert len(office.heard()) == 2


def test_rows_that_cannot_be_read_are_a_fault(office: Office) -> None:
    """Nothing is sent, and the run says why."""
    office.cancel("a")
    with pytest.raises(ClientError, match="Throttled"):
        office.send(with_answers("dynamodb", query=refuse("Throttled")))
    assert office.heard() == []
    assert office.send() == ["a"]


def test_many_notices_are_sent_in_several_runs_oldest_first(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run sends so many, and begins none when its time is over; the next one goes on."""
    for job_id in ("a", "b", "c", "d"):
        office.cancel(job_id)
    monkeypatch.setattr(function, "MAX_A_RUN", 2)
    assert office.send() == ["a", "b"]
    times = iter([0.0, 1.0, function.TIME_S, function.TIME_S])
    assert office.send(clock=lambda: next(times)) == ["c"]
    assert office.send() == ["d"]


def test_a_row_that_says_nothing_is_sent_as_it_is(office: Office) -> None:
    """A row that somebody wrote by hand: an empty notice is sent once, and stops nobody."""
    row = {"PK": {"S": notices.PK}, "SK": {"S": "2026"}, "f1": {"BOOL": True}, "reason": {"L": []}}
    direct("dynamodb").put_item(TableName=office.rules.table, Item=row)
    office.cancel("a")
    assert office.send() == ["", "a"]
    assert len(office.heard()) == 2


def test_the_topic_is_encrypted_and_the_address_subscribed() -> None:
    """Texts hold names and reasons; without an address there is the topic alone."""

    made, silent = stack(notify_email="ml@example.com"), stack()
    assert made.one("notices-topic").inputs["kmsMasterKeyId"] == "alias/aws/sns"
    (mail,) = made.of_type("aws:sns/topicSubscription:TopicSubscription")
    assert (mail.inputs["protocol"], mail.inputs["endpoint"]) == ("email", "ml@example.com")
    assert mail.inputs["topic"] == made.outputs["notices_topic_arn"]
    assert silent.one("notices-topic")
    assert not silent.of_type("aws:sns/topicSubscription:TopicSubscription")
