"""The job queue, on SQS, and the looks that the stack's function takes at it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from botocore.exceptions import ClientError

from receipt_trainer.aws.clients import aws_faults, error_code
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract import waiting_calls
from receipt_trainer.contract.liveness import LOOK_EVERY_MIN
from receipt_trainer.contract.waiting import BODY_VERSION, body_of, new_deduplication_id
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

    from receipt_trainer.contract.waiting import Look

VISIBILITY_S: Final = 300
"""For how long a received message is hidden from other workers, unless it is extended."""
MAX_WAIT_S: Final = 20
"""Longest long poll of SQS."""
DEDUPLICATION_S: Final = 300
"""For how long SQS swallows a second message of the same deduplication id."""

RENEW_RECEIVES: Final = 50
"""Receives from which a message is renewed: at 100 the redrive policy takes it, for whatever reason."""
RENEW_AGE: Final = timedelta(days=7)
"""Age from which a message is renewed: SQS drops it 14 days after it was sent, without notice."""

_NO_QUEUE: Final = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
_GONE: Final = frozenset(
    {
        "AWS.SimpleQueueService.MessageNotInflight",
        "MessageNotInflight",
        "InvalidReceiptHandle",
        "ReceiptHandleIsInvalid",
    }
)
_OVER: Final = ("receipt handle has expired", "does not exist or is not available")
"""How SQS words the same as an InvalidParameterValue: at a deletion, at a change of visibility."""


@dataclass(frozen=True, slots=True)
class Message:
    """A received message.

    Attributes:
        job_id: the job; None if the body cannot be read.
        receipt: what this receive is called when it is extended, released or deleted.
        version: of the body.
        message_id: what the message is called at each of its receives; None if the queue does not say.
        num_receives: how often it has been received, this time included.
        sent_at: when it was sent; None if the queue does not say.
        reason: why the body cannot be read.
        hide_s: of an unreadable message: `extend` it by so much and continue. A foreign message returns at once
            (0), so that its receives are used up in seconds and the redrive policy moves it to the dead-letter queue,
            where an alarm watches; one of a newer version is left to newer workers for a while.
    """

    job_id: str | None
    receipt: str
    num_receives: int = 1
    reason: str | None = None
    hide_s: int = 0
    sent_at: datetime | None = None
    message_id: str | None = None
    version: int = 1

    def is_worn(self, now: datetime) -> bool:
        """Whether the queue may soon drop it, so that it is to be renewed if its job waits."""
        is_old = self.sent_at is not None and now - self.sent_at >= RENEW_AGE
        return is_old or self.num_receives >= RENEW_RECEIVES


def read_body(
    body: str, receipt: str, num_receives: int, sent_at: datetime | None = None, message_id: str | None = None
) -> Message:
    """The message of a received text; never raises, whatever the text is."""
    reason, hide_s = None, 0
    try:
        said = json.loads(body)
        version = said["version"]
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            reason = "its version is not a whole number from 1 on"
        elif version > BODY_VERSION:
            reason, hide_s = f"it is of version {version}; this worker reads up to {BODY_VERSION}", VISIBILITY_S
        else:
            job_id = str(UUID(said["job_id"]))
            return Message(job_id, receipt, num_receives, None, 0, sent_at, message_id, version)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = f"it names no job ({type(error).__name__}): {body[:100]!r}"
    return Message(None, receipt, num_receives, reason, hide_s, sent_at, message_id)


class SqsQueue:
    """A FIFO queue of SQS. A job's messages form a group of their own, so that no job waits for another one.

    All methods raise UserError or WorldError as `aws_faults` says.
    """

    def __init__(self, client: SQSClient, url: str, *, visibility_s: int = VISIBILITY_S) -> None:
        if not url.endswith(".fifo") or not url.startswith(("https://", "http://")):
            raise UserError(f"--queue-url '{url}': expected the URL of a FIFO queue, which ends in .fifo")
        self._client, self._url, self._visibility_s = client, url, visibility_s

    def check(self) -> None:
        """Look at the queue before something is stored for it; UserError if it is missing, or not one of ours."""
        with queue_faults("look at the queue", self._url):
            found = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["All"])
        if found.get("Attributes", {}).get("ContentBasedDeduplication") == "true":
            raise UserError(f"queue {self._url} deduplicates by content; turn that off, or equal jobs get lost")

    def send(
        self, job_id: str, deduplication_id: str | None = None, group: str | None = None, version: int = 1
    ) -> None:
        """Queue the job; within 5 minutes a second message of the same deduplication id (the job's id) is dropped.

        `group`: by default the job's own, whose messages are delivered one after the other; `version`: see
        `body_version`.
        """
        with queue_faults("send the job's message", self._url):
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=body_of(job_id, version),
                MessageGroupId=group or job_id,
                MessageDeduplicationId=deduplication_id or job_id,
            )

    def receive(self, wait_s: int) -> Message | None:
        """The next message, waited for up to `wait_s` seconds (20 at most); hidden from others from now on."""
        with queue_faults("receive a message", self._url):
            # Without an id of its own, a receive whose answer is lost would hide the message from everybody.
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=1,
                WaitTimeSeconds=max(0, min(wait_s, MAX_WAIT_S)),
                VisibilityTimeout=self._visibility_s,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
                ReceiveRequestAttemptId=str(uuid.uuid4()),
            )
        for found in answer.get("Messages", []):
            told = found.get("Attributes", {})
            sent_ms = told.get("SentTimestamp")
            sent_at = datetime.fromtimestamp(int(sent_ms) / 1000, UTC) if sent_ms else None
            num_receives = int(told.get("ApproximateReceiveCount", 1))
            return read_body(found["Body"], found["ReceiptHandle"], num_receives, sent_at, found.get("MessageId"))
        return None

    def extend(self, message: Message, seconds: int) -> bool:
        """Hide the message for so many seconds from now; False if it is no longer ours, which leaves it as it is.

        It is another worker's then, or gone: it was purged, or SQS has dropped it for its age.
        """
        with queue_faults("extend a message", self._url), _unless_gone():
            self._client.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=message.receipt, VisibilityTimeout=seconds
            )
            return True
        return False

    def release(self, message: Message) -> bool:
        """Let others have the message at once; False as `extend`."""
        return self.extend(message, 0)

    def delete(self, message: Message) -> None:
        """Remove the message: its job has ended."""
        with queue_faults("delete a message", self._url), _unless_gone():
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt)

    def renew(self, message: Message, job_id: str, version: int) -> None:
        """Send the job's message anew, then remove the old one.

        The two are of one group: the new one is not delivered before the old one is gone. If only the removal fails,
        the old one comes back first, and one message is too many, which its claim's refusal removes some day.
        """
        self.send(job_id, new_deduplication_id(job_id), version=version)
        self.delete(message)


@contextmanager
def queue_faults(doing: str, url: str) -> Iterator[None]:
    """As `aws_faults`; a queue that is not there is named."""
    try:
        with aws_faults(doing):
            yield
    except WorldError as error:
        if error_code(error.__cause__) in _NO_QUEUE:
            raise UserError(f"{doing}: there is no queue {url}; check the URL and the region") from error
        raise


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Passes over the refusal of a receipt that has run out: the message is another's, or gone."""
    try:
        yield
    except ClientError as error:
        is_over = error_code(error) == "InvalidParameterValue" and any(text in str(error) for text in _OVER)
        if not is_over and error_code(error) not in _GONE:
            raise


LATE_S: Final = 3 * LOOK_EVERY_MIN * 60
"""A last look that is older says that the stack's function looks no more."""


def read_short(table: Table, now: datetime) -> list[Look]:
    """The queues with fewer messages than jobs, as the stack's function saw them minutes ago; one request."""
    with aws_faults("read the looks at the queues", table=table.name):
        looks = waiting_calls.read_looks(*table).values()
    return [look for look in looks if look.short_since is not None and is_recent(look, now)]


def is_recent(look: Look | None, now: datetime) -> bool:
    """Whether the stack's function still looks."""
    return look is not None and (now - look.at).total_seconds() <= LATE_S


def words(look: Look) -> str:
    """Jobs and messages of a queue, in one line."""
    waits = _counted(look.num_waiting, "job waits", "jobs wait")
    taken = f" and {_counted(look.num_active, 'is taken', 'are taken')}" if look.num_active else ""
    return f"{waits}{taken} in {look.queue}, {_counted(look.num_messages, 'message', 'messages')}"


def promise(look: Look, given: str) -> str:
    """Text on how jobs without a message get one, and the command that does it at once; `given` names the stack."""
    heal = f"`receipt-trainer doctor --heal{given}`"
    return f"{words(look)}: they get a new one within ten minutes, or at once by {heal}"


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
