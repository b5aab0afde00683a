"""Writes of a job's rows: each is conditional, and its outcome is known even if the answer is lost."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.clients import aws_faults, error_code
from receipt_trainer.aws.dynamo import Item, Sleep
from receipt_trainer.contract.tables import JOB_SK, attempt_sk, job_pk, job_status_pk, status_sk
from receipt_trainer.errors import WorldError
from receipt_trainer.jobs.changes import Change
from receipt_trainer.jobs.lifecycle import OWNED, Attempt, Job, State, may, spec_values
from receipt_trainer.jobs.metrics_writer import iso
from receipt_trainer.jobs.outbox import notice_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

BUSY_TRIES: Final = 8
"""Tries of a transaction that meets another one on the same row; the waits between add up to 10 s at most."""
_BUSY: Final = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})


class JobRows:
    """A job's own row and those of its attempts and changes. Methods raise UserError and WorldError as `aws_faults`."""

    def __init__(self, client: DynamoDBClient, table: str, sleep: Sleep) -> None:
        """Take the table; `sleep` waits seconds between the tries of a transaction."""
        self._client, self._table, self._sleep = client, table, sleep

    def write(self, job: Job, change: Change) -> bool:
        """Change the job from what it was read as; False if it is not that any more: nothing is written then."""
        if not may(job.status, change.to):
            raise ValueError(f"a job does not go from {job.status} to {change.to}")
        token = uuid.uuid4().hex
        seq = job.version + 1
        attempt = max([job.attempt, *change.attempts])
        status = _status_row(seq, job.status, change, attempt, token)
        items = [self._update_job(job, change, seq), self._put(job.job_id, status)]
        items += [self._update_attempt(job.job_id, number, sets) for number, sets in change.attempts.items()]
        items += [self._update_row(job.job_id, sort_key, sets) for sort_key, sets in change.updates.items()]
        if (notice := notice_of(job, change)) is not None:
            items.append({"Put": {"TableName": self._table, "Item": dynamo.serialise(notice.to_row(seq))}})
        return self._commit(items, token, job.job_id, status["SK"])

    def create(self, row: Mapping[str, Any], at: str) -> bool:
        """Make a job's row and its first STATUS row; False if the job is there already."""
        token = uuid.uuid4().hex
        job_id = str(row["job_id"])
        first = Change(row["status"], at)
        status = _status_row(int(row["version"]), None, first, 0, token)
        put = self._put(job_id, row)
        put["Put"]["ConditionExpression"] = "attribute_not_exists(PK)"
        return self._commit([put, self._put(job_id, status)], token, job_id, status["SK"])

    def _update_job(self, job: Job, change: Change, seq: int) -> dict[str, Any]:
        sets = {**change.sets, "status": change.to, "version": seq, "updated_at": change.at}
        sets["GSI1PK"] = job_status_pk(change.to)
        read: Item = {"version": job.version, "status": job.status, "attempt": job.attempt}
        if change.needs_same_lease:
            read["lease_expires_at"] = iso(job.lease_expires_at) if job.lease_expires_at else None
        update = _update({"PK": job_pk(job.job_id), "SK": JOB_SK}, sets, change.removes, read)
        return {"Update": {"TableName": self._table, **update}}

    def _update_attempt(self, job_id: str, number: int, sets: Mapping[str, Any]) -> dict[str, Any]:
        own = {"TYPE": "JOB_ATTEMPT", "job_id": job_id, "attempt": number}
        return self._update_row(job_id, attempt_sk(number), {**sets, **own})

    def _update_row(self, job_id: str, sort_key: str, sets: Mapping[str, Any]) -> dict[str, Any]:
        key = {"PK": job_pk(job_id), "SK": sort_key}
        return {"Update": {"TableName": self._table, **_update(key, sets, (), {})}}

    def _put(self, job_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
        item = {"PK": job_pk(job_id), "job_id": job_id, **row}
        return {"Put": {"TableName": self._table, "Item": dynamo.serialise(item)}}

    def _commit(self, items: list[dict[str, Any]], token: str, job_id: str, status_key: str) -> bool:
        """Write all or nothing. The STATUS row carries the token: if it is there, it was this transaction."""
        try:
            is_written = self._send(items, token, job_id)
        except WorldError:
            if self._is_ours(job_id, status_key, token):
                return True
            raise
        # A request that was sent twice because its first answer was lost finds its own work in its way.
        return is_written or self._is_ours(job_id, status_key, token)

    def _send(self, items: list[dict[str, Any]], token: str, job_id: str) -> bool:
        doing = f"write the state of job {job_id}"
        for tries in range(BUSY_TRIES):
            try:
                with aws_faults(doing, table=self._table):
                    self._client.transact_write_items(TransactItems=items, ClientRequestToken=token)  # type: ignore[arg-type]
                return True
            except WorldError as error:
                codes = _cancellation(error.__cause__)
                if "ConditionalCheckFailed" in codes:
                    return False
                if not codes or not codes <= _BUSY:
                    raise
            if tries + 1 < BUSY_TRIES:
                self._sleep(random.uniform(0, min(2.0, 0.05 * 2**tries)))  # noqa: S311 - spreads rivals, hides nothing
        raise WorldError(f"{doing}: others keep writing it ({', '.join(sorted(codes))})")

    def _is_ours(self, job_id: str, status_key: str, token: str) -> bool:
        row = self.row(job_id, status_key)
        return row is not None and row.get("token") == token

    def row(self, job_id: str, sort_key: str) -> Item | None:
        """One row of a job as it is now."""
        rows = dynamo.query(
            self._client,
            self._table,
            f"read job {job_id}",
            KeyConditionExpression="PK = :pk AND SK = :sk",
            ExpressionAttributeValues={":pk": job_pk(job_id), ":sk": sort_key},
            ConsistentRead=True,
        )
        return next(rows, None)

    def renew(self, attempt: Attempt, until: datetime) -> Item | None:
        """Let the attempt's lease end then; the job's row as it is now, None if it is not the attempt's any more."""
        read = {"attempt": attempt.number, "worker_id": attempt.worker_id}
        return self._update_if(attempt.job_id, {"lease_expires_at": iso(until)}, read, states=OWNED)

    def ask_to_cancel(self, job: Job, at: str) -> None:
        """Tell the job's worker to end it. It counts as a change, so that no ending overlooks it."""
        sets = {"cancel_requested": True, "updated_at": at, "version": job.version + 1}
        read = {"version": job.version, "attempt": job.attempt}
        self._update_if(job.job_id, sets, read, states=frozenset({job.status}))

    def forget_checkpoints(self, job: Job, at: str) -> bool:
        """Note when the checkpoints went; False if the job is not what it was read as."""
        sets = {"checkpoints_gone_at": at, "version": job.version + 1}
        read = {"version": job.version, "attempt": job.attempt}
        return self._update_if(job.job_id, sets, read, states=frozenset({job.status})) is not None

    def has_any(self, job_id: str, prefix: str) -> bool:
        """Whether the job has a row whose sort key begins so."""
        return next(self._keys(job_id, prefix, limit=1), None) is not None

    def delete(self, job_id: str, prefix: str) -> None:
        """Delete the rows of the job whose sort keys begin so."""
        keys = [{"PK": str(key["PK"]), "SK": str(key["SK"])} for key in self._keys(job_id, prefix)]
        if keys:
            dynamo.batch_write(self._client, self._table, f"delete rows of job {job_id}", deletes=keys)

    def _keys(self, job_id: str, prefix: str, limit: int = 1000) -> Iterator[Item]:
        return dynamo.query(
            self._client,
            self._table,
            f"read job {job_id}",
            KeyConditionExpression="PK = :pk AND begins_with(SK, :prefix)",
            ExpressionAttributeValues={":pk": job_pk(job_id), ":prefix": prefix},
            ProjectionExpression="PK, SK",
            ConsistentRead=True,
            Limit=limit,
        )

    def put_spec(self, job: Job, at: str) -> bool:
        """Write a waiting job's spec as it is given; False if the job has changed meanwhile."""
        sets = spec_values(job.spec) | {"updated_at": at, "version": job.version + 1}
        read = {"version": job.version, "attempt": job.attempt}
        return self._update_if(job.job_id, sets, read, states=frozenset({job.status})) is not None

    def _update_if(
        self, job_id: str, sets: Mapping[str, Any], read: Mapping[str, Any], *, states: frozenset[State]
    ) -> Item | None:
        update = _update({"PK": job_pk(job_id), "SK": JOB_SK}, sets, (), read)
        among = {f":state{n}": state for n, state in enumerate(sorted(states))}
        update["ConditionExpression"] += f" AND #status IN ({', '.join(among)})"
        update["ExpressionAttributeNames"]["#status"] = "status"
        update["ExpressionAttributeValues"] |= dynamo.serialise(among)
        try:
            with aws_faults(f"write job {job_id}", table=self._table):
                answer = self._client.update_item(TableName=self._table, ReturnValues="ALL_NEW", **update)
        except WorldError as error:
            if error_code(error.__cause__) != "ConditionalCheckFailedException":
                raise
            return None
        return dynamo.deserialise(answer["Attributes"])


def _status_row(seq: int, before: State | None, change: Change, attempt: int, token: str) -> Item:
    said = {"from": before, "reason": change.reason, "worker_id": change.worker_id}
    known = {name: value for name, value in said.items() if value is not None}
    own = {"SK": status_sk(change.at, seq), "TYPE": "JOB_STATUS", "at": change.at, "to": change.to}
    return {**own, **known, "attempt": attempt, "token": token}


def _update(
    key: Mapping[str, str], sets: Mapping[str, Any], removes: tuple[str, ...], read: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of an update of a row that is still as it was read; an attribute that is set to None is removed."""
    given = {name: value for name, value in sets.items() if value is not None}
    gone = [*removes, *(name for name, value in sets.items() if value is None)]
    text = "SET " + ", ".join(f"#{name} = :{name}" for name in given)
    if gone:
        text += " REMOVE " + ", ".join(f"#{name}" for name in gone)
    values = {f":{name}": value for name, value in given.items()} | {f":read_{name}": read[name] for name in read}
    condition = {"ConditionExpression": " AND ".join(f"#{name} = :read_{name}" for name in read)} if read else {}
    return {
        "Key": dynamo.serialise(key),
        "UpdateExpression": text,
        "ExpressionAttributeNames": {f"#{name}": name for name in [*given, *gone, *read]},
        "ExpressionAttributeValues": dynamo.serialise(values),
        **condition,
    }


def _cancellation(cause: BaseException | None) -> frozenset[str]:
    """Why DynamoDB cancelled a transaction; empty if it did not."""
    response = getattr(cause, "response", None) or {}
    return frozenset(
        reason["Code"]
        for reason in response.get("CancellationReasons") or ()
        if reason.get("Code") not in (None, "None")
    )
