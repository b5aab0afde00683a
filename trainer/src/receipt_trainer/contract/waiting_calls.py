"""The calls of DynamoDB and SQS that find jobs without a message, and give them one; see `waiting`.

The clients are given, so that the stack's function and the commands on a laptop ask the same with nothing but the
standard library here. All errors of boto3 come through. Sources: DynamoDB API Reference, Query and UpdateItem; SQS API
Reference, GetQueueAttributes and SendMessageBatch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from receipt_trainer.contract import waiting
from receipt_trainer.contract.tables import JOB_SK, LOOKS_PK, job_pk, job_status_pk, moment
from receipt_trainer.contract.waiting import JobQueuePlace, Look, Messages, QueuedJob, body_of, new_deduplication_id

BATCH: Final = 10
"""Messages of one request (SQS's limit)."""
KEPT_S: Final = 14 * 86_400
"""How long the last look at a queue is kept that is looked at no more."""
_NUMBERS: Final = ("num_waiting", "num_active", "num_messages")
_COUNTS: Final = tuple(f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed"))


@dataclass(frozen=True, slots=True)
class Seen:
    """One queue as it was found: the look that is kept of it, the jobs whose rows name it, and the look before."""

    place: JobQueuePlace
    look: Look
    jobs: tuple[QueuedJob, ...]
    last: Look | None = None

    @property
    def unsent(self) -> list[QueuedJob]:
        """The jobs that get a new message now."""
        return waiting.unsent(self.look, self.jobs)


@dataclass(frozen=True, slots=True)
class Survey:
    """All queues of a stack that could be counted as they were found, and nothing changed.

    Attributes:
        homeless: jobs that wait in queues that are gone, each with the queue that came in its place.
        strays: jobs that wait in queues that are not the stack's, nor were.
        faults: what could not be done, by queue or job.
    """

    seen: tuple[Seen, ...]
    homeless: tuple[tuple[QueuedJob, JobQueuePlace], ...]
    strays: tuple[QueuedJob, ...] = ()
    faults: dict[str, Exception] = field(default_factory=dict)


def survey(dynamodb: Any, sqs: Any, table: str, places: Sequence[JobQueuePlace], now: datetime) -> Survey:
    """Look at all queues; one that cannot be counted is among the faults. Raises if the jobs table cannot be read."""
    jobs, last = read_jobs(dynamodb, table, now), read_looks(dynamodb, table)
    seen, faults = [], {}
    for place in places:
        before = last.get(place.name)
        own = tuple(job for job in jobs if job.queue_url == place.url)
        try:
            messages = count(sqs, place.url)
        except Exception as error:
            faults[place.label] = error
        else:
            seen.append(Seen(place, waiting.take(place.label, own, messages, before, now), own, before))
    homeless = tuple(waiting.homes(jobs, places, now))
    known = {place.url for place in places}
    at_home = {job.job_id for job, _ in homeless}
    strays = tuple(
        job for job in jobs if job.queue_url not in known and job.job_id not in at_home and job.is_overdue(now)
    )
    return Survey(tuple(seen), homeless, strays, faults)


@dataclass(frozen=True, slots=True)
class Healed:
    """The messages sent: queue label -> ids of the jobs with a new message, and of those that came from a queue that is
    gone; `faults` by queue or job."""

    sent: dict[str, list[str]]
    moved: dict[str, list[str]]
    faults: dict[str, Exception]


def heal(dynamodb: Any, sqs: Any, table: str, found: Survey) -> Healed:
    """Send the messages that are missing, and keep the looks. May be called by two at once.

    What fails for one queue or job is among the faults, with those of the survey; the rest is done.
    """
    sent: dict[str, list[str]] = {}
    moved: dict[str, list[str]] = {}
    faults = dict(found.faults)
    for one in found.seen:
        look, jobs = one.look, one.unsent
        try:
            if jobs:
                send(sqs, one.place.url, jobs)
                sent[one.place.label] = [job.job_id for job in jobs]
                look = waiting.settled(look)
            # Of an empty queue there is nothing to remember: at rest nothing is written.
            if one.jobs or (one.last is not None and one.last.short_since is not None):
                keep(dynamodb, table, one.place, look)
        except Exception as error:
            faults[one.place.label] = error
    for job, place in found.homeless:
        try:
            # The row first: a process that dies between the two leaves a job that waits in a queue that is looked at.
            if move(dynamodb, table, job, place):
                send(sqs, place.url, [job])
                moved.setdefault(place.label, []).append(job.job_id)
        except Exception as error:
            faults[job.job_id] = error
    return Healed(sent, moved, faults)


def read_jobs(dynamodb: Any, table: str, now: datetime) -> list[QueuedJob]:
    """Every job that should have a message; one request for each state, and for each further MB of rows."""
    found: dict[str, QueuedJob] = {}
    for state in waiting.STATES:
        # Whole rows, which cost no more than parts of them: whether workers can read one is decided by all of it.
        for row in _query(
            dynamodb, table, job_status_pk(state), IndexName="GSI1", KeyConditionExpression="GSI1PK = :pk"
        ):
            job = waiting.read_job(row, now)
            if job is not None:
                found[job.job_id] = job
    return list(found.values())


def count(sqs: Any, url: str) -> Messages:
    """The messages of one queue."""
    said = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS))["Attributes"]
    visible, *hidden = (int(said.get(name, 0)) for name in _COUNTS)
    return Messages(visible, sum(hidden))


def read_looks(dynamodb: Any, table: str) -> dict[str, Look]:
    """The last look at each queue, by the queue's name; one request."""
    found = {}
    for row in _query(dynamodb, table, LOOKS_PK, KeyConditionExpression="PK = :pk", ConsistentRead=True):
        at, short_since = (moment(row.get(name)) for name in ("at", "short_since"))
        if at is not None:
            numbers = [int(row.get(name, 0)) for name in _NUMBERS]
            found[str(row["SK"])] = Look(str(row.get("queue", "")), at, numbers[0], numbers[1], numbers[2], short_since)
    return found


def keep(dynamodb: Any, table: str, place: JobQueuePlace, look: Look) -> None:
    """Write the look at a queue over the one before."""
    numbers = {name: getattr(look, name) for name in _NUMBERS} | {"expires_at": int(look.at.timestamp()) + KEPT_S}
    texts = {"PK": LOOKS_PK, "SK": place.name, "TYPE": "LOOK", "queue": look.queue, "at": look.at.isoformat()}
    if look.short_since is not None:
        texts["short_since"] = look.short_since.isoformat()
    item = {name: {"S": text} for name, text in texts.items()} | {
        name: {"N": str(number)} for name, number in numbers.items()
    }
    dynamodb.put_item(TableName=table, Item=item)


def send(sqs: Any, url: str, jobs: Sequence[QueuedJob]) -> None:
    """Send each job a message, in a group of its own: behind another one of the job's it could not be received, and
    would count as a job that waits for as long as that one is trained.

    Raises:
        RuntimeError: SQS took some and not others.
    """
    for start in range(0, len(jobs), BATCH):
        some = jobs[start : start + BATCH]
        bodies = [body_of(job.job_id, job.body_version) for job in some]
        ids = [new_deduplication_id(job.job_id) for job in some]
        entries = [
            {"Id": str(n), "MessageBody": body, "MessageGroupId": new, "MessageDeduplicationId": new}
            for n, (body, new) in enumerate(zip(bodies, ids, strict=True))
        ]
        answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
        if failed := answer.get("Failed"):
            raise RuntimeError(f"SQS did not take {len(failed)} of {len(entries)} messages: {failed[0].get('Message')}")


def move(dynamodb: Any, table: str, job: QueuedJob, place: JobQueuePlace) -> bool:
    """Let the job's row name this queue; False if the job has changed since it was read."""
    try:
        dynamodb.update_item(
            TableName=table,
            Key={"PK": {"S": job_pk(job.job_id)}, "SK": {"S": JOB_SK}},
            UpdateExpression="SET queue_url = :new",
            ConditionExpression="queue_url = :old AND #status = :status AND version = :version",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":new": {"S": place.url},
                ":old": {"S": job.queue_url},
                ":status": {"S": job.status},
                ":version": {"N": str(job.version)},
            },
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True


def _query(dynamodb: Any, table: str, partition: str, **asked: Any) -> Iterator[dict[str, Any]]:
    values = {":pk": {"S": partition}}
    pages = dynamodb.get_paginator("query").paginate(TableName=table, ExpressionAttributeValues=values, **asked)
    for page in pages:
        for raw in page["Items"]:
            yield {name: _plain(value) for name, value in raw.items()}


def _plain(value: Mapping[str, Any]) -> Any:
    """An attribute as a plain value; sets and bytes, which no job's row has, as they are."""
    [(kind, said)] = value.items()
    if kind == "N":
        number = Decimal(said)
        return int(number) if number == number.to_integral_value() else number
    if kind == "M":
        return {name: _plain(part) for name, part in said.items()}
    if kind == "L":
        return [_plain(part) for part in said]
    return None if kind == "NULL" else said
