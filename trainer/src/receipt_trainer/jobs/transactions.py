"""Writes of a job's rows: each is conditional, and its outcome is known even if the answer is lost.

The transaction that ends a job writes its notice as well, which a function of the stack sends.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.clients import aws_faults, error_code
from receipt_trainer.aws.dynamo import Item, Sleep, Table
from receipt_trainer.contract.notices import HELD, Notice
from receipt_trainer.contract.tables import JOB_SK, attempt_sk, iso, job_pk, job_status_pk, status_sk, to_float
from receipt_trainer.errors import WorldError
from receipt_trainer.jobs import limits
from receipt_trainer.jobs.model import OWNED, TERMINAL, Attempt, Job, State
from receipt_trainer.jobs.rows import row_of
from receipt_trainer.jobs.state_machine import Change, may

BUSY_TRIES: Final = 8
"""Tries of a transaction that meets another one on the same row; the waits between add up to 10 s at most."""
_BUSY: Final = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})


class Transactions:
    """Methods raise UserError and WorldError as `aws_faults` says."""

    def __init__(self, table: Table, sleep: Sleep) -> None:
        self._table, self._sleep = table, sleep

    def create(self, row: Mapping[str, Any], at: str) -> bool:
        """Make a job's row, of version 1, and its first STATUS row; False if the job is there already."""
        token, job_id = uuid.uuid4().hex, str(row["job_id"])
        status = _status_row(int(row["version"]), None, Change(row["status"], at), 0, token)
        put = self._put(job_id, row)
        put["Put"]["ConditionExpression"] = "attribute_not_exists(PK)"
        return self._commit([put, self._put(job_id, status)], token, job_id, status["SK"])

    def write(self, job: Job, change: Change) -> bool:
        """Change the job from what was read; False if it has changed since: nothing is written then.

        A run without a queue has no other rules than these: the process that runs it sets its state.
        """
        if job.queue_url is not None and not may(job.status, change.to):
            raise ValueError(f"a job does not go from {job.status} to {change.to}")
        token, seq = uuid.uuid4().hex, job.version + 1
        status = _status_row(seq, job.status, change, max([job.attempt, *change.attempts]), token)
        own = {"TYPE": "JOB_ATTEMPT", "job_id": job.job_id}
        rows = {attempt_sk(number): {**sets, **own, "attempt": number} for number, sets in change.attempts.items()}
        items = [self._update_job(job, change, seq), self._put(job.job_id, status)]
        for sort_key, sets in (rows | dict(change.updates)).items():
            update = _update({"PK": job_pk(job.job_id), "SK": sort_key}, sets, (), {})
            items.append({"Update": {"TableName": self._table.name, **update}})
        if (notice := notice_of(job, change)) is not None:
            items.append({"Put": {"TableName": self._table.name, "Item": dynamo.serialise(notice.to_row(seq))}})
        return self._commit(items, token, job.job_id, status["SK"])

    def _update_job(self, job: Job, change: Change, seq: int) -> dict[str, Any]:
        sets = {**change.sets, "status": change.to, "version": seq, "updated_at": change.at}
        sets["GSI1PK"] = job_status_pk(change.to)
        read: Item = {"version": job.version, "status": job.status, "attempt": job.attempt}
        if change.needs_same_lease:
            read["lease_expires_at"] = iso(job.lease_expires_at) if job.lease_expires_at else None
        update = _update({"PK": job_pk(job.job_id), "SK": JOB_SK}, sets, change.removes, read)
        return {"Update": {"TableName": self._table.name, **update}}

    def _put(self, job_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
        item = {"PK": job_pk(job_id), "job_id": job_id, **row}
        return {"Put": {"TableName": self._table.name, "Item": dynamo.serialise(item)}}

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
                with aws_faults(doing, table=self._table.name):
                    self._table.client.transact_write_items(TransactItems=items, ClientRequestToken=token)  # type: ignore[arg-type]
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
        row = row_of(self._table, job_id, status_key)
        return row is not None and row.get("token") == token

    def renew(self, attempt: Attempt, until: datetime) -> Item | None:
        """Let the attempt's lease end then; the job's row as it is now, None if the attempt no longer holds it."""
        read = {"attempt": attempt.number, "worker_id": attempt.worker_id}
        return self._update_if(attempt.job_id, {"lease_expires_at": iso(until)}, read, states=OWNED)

    def set(self, job: Job, sets: Mapping[str, Any]) -> bool:
        """Set attributes of a job that keeps its state; False if it is not what it was read as.

        It counts as a change of the job, so that no earlier reader overlooks it.
        """
        read = {"version": job.version, "attempt": job.attempt}
        counted = {**sets, "version": job.version + 1}
        return self._update_if(job.job_id, counted, read, states=frozenset({job.status})) is not None

    def _update_if(
        self, job_id: str, sets: Mapping[str, Any], read: Mapping[str, Any], *, states: frozenset[State]
    ) -> Item | None:
        update = _update({"PK": job_pk(job_id), "SK": JOB_SK}, sets, (), read)
        among = {f":state{n}": state for n, state in enumerate(sorted(states))}
        update["ConditionExpression"] += f" AND #status IN ({', '.join(among)})"
        update["ExpressionAttributeNames"]["#status"] = "status"
        update["ExpressionAttributeValues"] |= dynamo.serialise(among)
        try:
            with aws_faults(f"write job {job_id}", table=self._table.name):
                answer = self._table.client.update_item(TableName=self._table.name, ReturnValues="ALL_NEW", **update)
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
    condition = {"ConditionExpression": " AND ".join(_is_still(name, read[name]) for name in read)} if read else {}
    return {
        "Key": dynamo.serialise(key),
        "UpdateExpression": text,
        "ExpressionAttributeNames": {f"#{name}": name for name in [*given, *gone, *read]},
        "ExpressionAttributeValues": dynamo.serialise(values),
        **condition,
    }


def _is_still(name: str, value: object) -> str:
    """A count that a row lacks was read as 0: older rows of runs without a queue have none."""
    equal = f"#{name} = :read_{name}"
    return f"(attribute_not_exists(#{name}) OR {equal})" if value == 0 else equal


def _cancellation(cause: BaseException | None) -> frozenset[str]:
    """Why DynamoDB cancelled a transaction; empty if it did not."""
    response = getattr(cause, "response", None) or {}
    return frozenset(
        reason["Code"]
        for reason in response.get("CancellationReasons") or ()
        if reason.get("Code") not in (None, "None")
    )


def notice_of(job: Job, change: Change) -> Notice | None:
    """The notice of a change of a job's state; None if the job has not ended, or if the job asks for no notice."""
    held_reason = change.sets.get("held_reason") if change.to == "INTERRUPTED" else None
    own = limits.of_job(job)
    stopped = own.named_in(change.reason) if change.to == "FAILED" else None
    if job.spec.get("notify") is not True or (change.to not in TERMINAL and held_reason is None):
        return None
    return Notice(
        job_id=job.job_id,
        name=job.name,
        state=HELD if held_reason is not None else change.to,
        at=change.at,
        reason=held_reason or change.reason,
        list_prices=job.list_prices,
        f1=to_float(change.sets.get("f1")),
        retry_flag=None if stopped is None else own.doubled(stopped),  # `retry` refuses it without
    )
