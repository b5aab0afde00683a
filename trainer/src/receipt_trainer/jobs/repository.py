"""The jobs table: every change of state is one conditional transaction, fenced by the attempt's number.

The outcome of a write is known even if its answer is lost.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.clients import aws_faults, error_code
from receipt_trainer.aws.dynamo import Item, Sleep
from receipt_trainer.aws.server_time import iso, utc_now
from receipt_trainer.contract.notices import HELD, Notice
from receipt_trainer.contract.tables import JOB_SK, attempt_sk, job_pk, job_status_pk, status_sk
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs import limits, state_machine
from receipt_trainer.jobs.estimate import Measured
from receipt_trainer.jobs.limits import Limits
from receipt_trainer.jobs.model import OWNED, TERMINAL, Attempt, Job, State, UnreadableRow, spec_values
from receipt_trainer.jobs.state_machine import Change, Ending, Refusal, may

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


def notice_of(job: Job, change: Change) -> Notice | None:
    """What a change of a job's state is to tell; None if it is no end, or if the job asks for no notice.

    Args:
        job: as it was read.
        change: what becomes of it.
    """
    held_reason = change.sets.get("held_reason") if change.to == "INTERRUPTED" else None
    if job.spec.get("notify") is not True or (change.to not in TERMINAL and held_reason is None):
        return None
    return Notice(
        job_id=job.job_id,
        name=job.name,
        state=HELD if held_reason is not None else change.to,
        at=change.at,
        reason=held_reason or change.reason,
        list_prices=job.list_prices,
        f1=dynamo.to_float(change.sets.get("f1")),
        retry_flag=_retry_flag(job, change),
    )


def _retry_flag(job: Job, change: Change) -> str | None:
    """The flag without which `retry` refuses a job that was stopped at its limit."""
    own = limits.of_job(job)
    name = own.named_in(change.reason) if change.to == "FAILED" else None
    return None if name is None else own.doubled(name)


MAX_TRIES: Final = 20
"""Readings of a job that others keep changing between our reading and our writing; each time one of them got on."""


class LeaseLost(Exception):  # noqa: N818 - an event of the protocol, which a worker expects
    """The job is not this attempt's any more; nothing was written, and nothing more may be."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """A renewed lease.

    Attributes:
        cancel_requested: somebody wants the job ended.
        lease_expires_at: until when it holds now.
    """

    cancel_requested: bool
    lease_expires_at: datetime


class JobTable:
    """Thread-safe as its client is. Methods raise UserError and WorldError as `aws_faults` says.

    All that read a job raise UnreadableRow if its row cannot be read; `cancel` and `retry` make a UserError of it.

    The ending methods (interrupt, succeed, fail, end_cancelled) may be called again after a WorldError: what the
    attempt has reached already stands.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        clock: Callable[[], datetime] = utc_now,
        sleep: Sleep = time.sleep,
    ) -> None:
        """Take the table.

        Args:
            client: see `receipt_trainer.aws.clients.dynamodb`.
            table: name of the jobs table.
            clock: the time of day; leases are compared with it.
            sleep: waits so many seconds where transactions meet.
        """
        self._table, self._clock = table, clock
        self.client, self.name = client, table
        self._rows = JobRows(client, table, sleep)

    def create(self, job: Job) -> Job:
        """Store a new job as it is given, with its times set; where the job is there already, that one is returned.

        Raises:
            UserError: it is there, and its row cannot be read.
        """
        at = iso(self._clock())
        made = replace(job, version=1, created_at=at, updated_at=at)
        return made if self._rows.create(made.to_row(), at) else self.readable(job.job_id)

    def get(self, job_id: str) -> Job:
        """The job as it is now.

        Raises:
            UserError: there is no such job.
        """
        job = self.find(job_id)
        if job is None:
            raise UserError(f"there is no job '{job_id}' in table '{self._table}'")
        return job

    def find(self, job_id: str) -> Job | None:
        """The job as it is now; None if there is none."""
        row = self._rows.row(job_id, JOB_SK)
        return None if row is None else Job.from_row(row)

    def claim(
        self,
        job_id: str,
        worker_id: str,
        lease_s: float,
        instance: Mapping[str, Any],
        *,
        broken_lease: datetime | None = None,
        message_id: str | None = None,
    ) -> Attempt | Refusal:
        """Make the job this worker's for `lease_s` seconds, if nobody else has it.

        Args:
            job_id: as the message names it.
            worker_id: of the worker; no two workers share one.
            lease_s: seconds from now, by this worker's clock.
            instance: what is known of the machine (instance_id, instance_type, price_usd_per_h, ...); kept with the
                attempt, so that its cost is known when the instance is gone.
            broken_lease: see `lifecycle.decide_claim`.
            message_id: of the message; whoever has another one of the job meanwhile knows that it is one too many.
        """
        for _ in range(MAX_TRIES):
            job, now = self.find(job_id), self._clock()
            if job is None:
                return Refusal("not there")
            decision = state_machine.decide_claim(job, now, broken_lease)
            if isinstance(decision, Refusal):
                settles = decision.settles
                if settles is None or self._rows.write(job, state_machine.settled(job, settles, decision.reason, now)):
                    return decision
                continue
            given = Attempt(job_id, decision.number, worker_id, now + timedelta(seconds=lease_s))
            if self._rows.write(job, state_machine.claimed(job, decision, given, instance, now, message_id)):
                return given
        raise self._contended(job_id)

    def start(self, attempt: Attempt, start_step: int) -> None:
        """Training begins, at a checkpoint's step or at 0.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        for _ in range(MAX_TRIES):
            job = self._owned(attempt)
            if job.status == "RUNNING" or self._rows.write(
                job, state_machine.started(attempt, start_step, self._clock())
            ):
                return
        raise self._contended(attempt.job_id)

    def renew(self, attempt: Attempt, lease_s: float) -> Renewed:
        """Make the lease end `lease_s` seconds from now.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        until = self._clock() + timedelta(seconds=lease_s)
        row = self._rows.renew(attempt, until)
        if row is None:
            raise LeaseLost(f"job {attempt.job_id} is not attempt {attempt.number}'s any more")
        return Renewed(bool(row.get("cancel_requested")), until)

    def interrupt(self, attempt: Attempt, reason: str, checkpoint_step: int | None) -> State:
        """The attempt had to go; another one goes on at the checkpoint. No failure, unless it was to be cancelled.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        return self._end(attempt, state_machine.after_interruption, Ending("INTERRUPTED", reason, checkpoint_step))

    def put_off(self, attempt: Attempt, reason: str, checkpoint_step: int | None, first_pause_s: int) -> Job:
        """The attempt's run is complete and could not be delivered: the job waits for the next try, or is held.

        Args:
            first_pause_s: seconds before the second try, see `delivery.pause_s`.

        Returns:
            The job as it is then.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        ending = Ending("INTERRUPTED", reason, checkpoint_step, first_pause_s)
        self._end(attempt, state_machine.after_interruption, ending)
        return self.get(attempt.job_id)

    def succeed(
        self, attempt: Attempt, f1: float | None, artifacts: str | None, measured: Measured | None = None
    ) -> None:
        """The job is done and its results are where `artifacts` says; `measured` is kept for later jobs' estimates.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        results = {"f1": f1, "artifacts": artifacts, "measured": measured.to_text() if measured else None}
        self._end(attempt, lambda job: "SUCCEEDED", Ending("SUCCEEDED", sets=results))

    def fail(self, attempt: Attempt, reason: str, *, final: bool = False) -> State:
        """The attempt failed: PENDING again, or FAILED at the limit, or at once if another would fail as well.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        return self._end(attempt, lambda job: state_machine.after_failure(job, final=final), Ending("FAILED", reason))

    def stop_at_limit(self, attempt: Attempt, reason: str, checkpoint_step: int | None) -> State:
        """The job has taken as much as it may: FAILED, and by `retry` with a higher limit it goes on.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        ending = Ending("FAILED", reason, checkpoint_step, is_limit=True)
        return self._end(attempt, lambda job: state_machine.after_failure(job, final=True), ending)

    def end_cancelled(self, attempt: Attempt, reason: str) -> None:
        """The attempt ended because the job was cancelled.

        Raises:
            LeaseLost: the job is not this attempt's any more.
        """
        self._end(attempt, lambda job: "CANCELLED", Ending("CANCELLED", reason))

    def cancel(self, job_id: str, reason: str | None = None) -> Job:
        """Cancel a waiting job; ask the worker of a claimed one to end it. Returns the job as it is then.

        Args:
            reason: why a waiting one is cancelled, if it is not on a person's request.

        Raises:
            UserError: no such job, its row cannot be read, or it has ended otherwise.
        """
        for _ in range(MAX_TRIES):
            job, now = self.readable(job_id), self._clock()
            to = state_machine.after_cancel(job, now)
            if to == job.status or (to is None and job.cancel_requested):
                return job
            if to is None:
                self._rows.ask_to_cancel(job, iso(now))
                continue
            if self._rows.write(job, state_machine.settled(job, to, reason or "cancelled on request", now)):
                return self.get(job_id)
        raise self._contended(job_id)

    def forget_checkpoints(self, job: Job) -> bool:
        """Say in an ended job's row that its checkpoints go now; False if the job has changed since it was read.

        It counts as a change, so that a `retry` at the same moment does not overlook it.
        """
        return self._rows.forget_checkpoints(job, iso(self._clock()))

    def delete_checkpoint_rows(self, job_id: str) -> None:
        """Delete the rows of all checkpoints of a job."""
        self._rows.delete(job_id, "CHECKPOINT#")

    def has_history(self, job_id: str) -> bool:
        """Whether this table knows of changes of such a job, be its own row there or not."""
        return self._rows.has_any(job_id, "STATUS#")

    def retry(self, job_id: str, given: Limits | None = None) -> Job:
        """Make a failed or cancelled job PENDING, with its failures forgotten; the caller sends its message.

        One whose run is not delivered waits for nothing then, a held one waits again; another waiting job stays as it
        is, but for its limits. See `receipt_trainer.jobs.submit.retry_job`.

        Args:
            given: limits that replace the job's own from now on.

        Raises:
            UserError: no such job, its row cannot be read, it runs, it has succeeded, or it has reached a limit.
        """
        for _ in range(MAX_TRIES):
            job, now = self.readable(job_id), self._clock()
            to = state_machine.after_retry(job, now)
            wanted = limits.with_limits(job, given or Limits())
            stays = to == job.status and (job.status == "PENDING" or job.undelivered_since is None)
            if stays and wanted is job:
                return job
            limits.require_room(self.client, self.name, wanted, now)
            if stays:
                is_written = self._rows.put_spec(wanted, iso(now))
            else:
                spec = None if wanted is job else wanted.spec
                is_written = self._rows.write(job, state_machine.retried(to, now, spec))
            if is_written:
                return self.get(job_id)
        raise self._contended(job_id)

    def readable(self, job_id: str) -> Job:
        """The job as it is now, for somebody who wants to change it.

        Raises:
            UserError: there is no such job, or its row cannot be read.
        """
        try:
            return self.get(job_id)
        except UnreadableRow as error:
            remedy = "mend the row, or use the trainer's version that wrote it"
            raise UserError(f"{error}; no worker takes the job: {remedy}") from None

    def _end(self, attempt: Attempt, to: Callable[[Job], State], ending: Ending) -> State:
        for _ in range(MAX_TRIES):
            try:
                job = self._owned(attempt)
            except LeaseLost:
                left = self._left_by(attempt, ending)
                if left is None:
                    raise
                return left
            change = state_machine.ended(job, attempt, to(job), ending, self._clock())
            if self._rows.write(job, change):
                return change.to
        raise self._contended(attempt.job_id)

    def _owned(self, attempt: Attempt) -> Job:
        """The job, if it is still the attempt's; that its lease is over does not matter until another one claims it."""
        job = self.find(attempt.job_id)
        if (
            job is None
            or job.status not in OWNED
            or (job.attempt, job.worker_id) != (attempt.number, attempt.worker_id)
        ):
            now = "gone" if job is None else f"{job.status}, attempt {job.attempt}"
            raise LeaseLost(f"job {attempt.job_id} is not attempt {attempt.number}'s any more: it is {now}")
        return job

    def _left_by(self, attempt: Attempt, ending: Ending) -> State | None:
        """The state in which this very ending has left the job before; None if the attempt ended otherwise."""
        row = self._rows.row(attempt.job_id, attempt_sk(attempt.number)) or {}
        is_this = row.get("worker_id") == attempt.worker_id and row.get("outcome") == ending.outcome
        return row.get("left") if is_this else None

    def _contended(self, job_id: str) -> WorldError:
        return WorldError(f"job {job_id}: others changed it {MAX_TRIES} times while it was to be written")
