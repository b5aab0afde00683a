"""The jobs table, read: rows of a job by the beginning of their sort key, and jobs by state, name, pool and time."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any, Final, get_args

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.clients import NoIndexError
from receipt_trainer.aws.dynamo import Item, Table
from receipt_trainer.contract.job_row import presentable
from receipt_trainer.contract.tables import (
    JOB_SK,
    JOBS_BY_CHANGE,
    JOBS_BY_ID,
    Index,
    attempt_sk,
    iso,
    job_name_pk,
    job_pk,
    job_status_pk,
)
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.model import State

ATTEMPTS: Final = "ATTEMPT#"
CHECKPOINTS: Final = "CHECKPOINT#"
LOGS: Final = "LOG#"
METRICS: Final = "METRIC#"
TRANSITIONS: Final = "STATUS#"
TRIALS: Final = "TRIAL#"
JOURNAL: Final = "JOURNAL#"
"""Kinds of rows of a job, the last two of a sweep: what their sort keys begin with."""


def rows_of(table: Table, job_id: str, prefix: str, **more: Any) -> Iterator[Item]:
    """The rows of a job whose sort keys begin so, in the order of those; see `partition_rows`."""
    return partition_rows(table, job_pk(job_id), prefix, f"read job {job_id}", **more)


def partition_rows(
    table: Table,
    partition: str,
    prefix: str,
    doing: str,
    *,
    begin: str | None = None,
    attributes: Sequence[str] = (),
    newest_first: bool = False,
    page: int | None = None,
) -> Iterator[Item]:
    """The rows of one partition key whose sort keys begin so, as they are now, in the order of those.

    Args:
        doing: what a fault's message says was tried.
        begin: sort key of the first row, itself with that prefix; None: all of them.
        attributes: what is read of each row; empty: the entire row.
        page: rows of one request at most.
    """
    given = _projection(attributes) | ({} if page is None else {"Limit": page})
    keys, values = "begins_with(SK, :prefix)", {":prefix": prefix}
    if begin is not None:
        keys, values = "SK BETWEEN :begin AND :end", {":begin": begin, ":end": f"{prefix}~"}
    return dynamo.query(
        *table,
        doing,
        KeyConditionExpression=f"PK = :pk AND {keys}",
        ExpressionAttributeValues={":pk": partition, **values},
        ScanIndexForward=not newest_first,
        ConsistentRead=True,
        **given,
    )


def _projection(attributes: Sequence[str]) -> dict[str, Any]:
    names = {f"#{name}": name for name in attributes}
    return {"ExpressionAttributeNames": names, "ProjectionExpression": ", ".join(names)} if names else {}


def row_of(table: Table, job_id: str, sort_key: str, attributes: Sequence[str] = ()) -> Item | None:
    """One row of a job as it is now; None if it is not there. Faults as `partition_rows`."""
    found = dynamo.query(
        *table,
        f"read job {job_id}",
        KeyConditionExpression="PK = :pk AND SK = :sk",
        ExpressionAttributeValues={":pk": job_pk(job_id), ":sk": sort_key},
        ConsistentRead=True,
        **_projection(attributes),
    )
    return next(found, None)


def get_job(table: Table, job_id: str) -> Item:
    """The job's own row, as `presentable` shows it; UserError if there is none."""
    found = row_of(table, job_id, JOB_SK)
    if found is None:
        raise UserError(f"there is no job '{job_id}' in table '{table.name}'")
    return presentable(found)


def spec_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved spec in a job's row; empty where a run without a worker stored none."""
    try:
        spec = json.loads(row.get("spec") or "{}")
    except ValueError:
        return {}
    return spec if isinstance(spec, dict) else {}


def attempts_of(table: Table, newest: Mapping[str, int], attributes: Sequence[str]) -> dict[str, list[Item]]:
    """ATTEMPT rows in their order, by the job's id, up to the number in `newest`; a request a hundred rows."""
    keys = [
        {"PK": job_pk(job_id), "SK": attempt_sk(number)}
        for job_id, last in newest.items()
        for number in range(1, last + 1)
    ]
    read = dict.fromkeys(("job_id", "attempt", *attributes))
    found = dynamo.batch_get(*table, "read the attempts of jobs", keys, tuple(read)) if keys else []
    attempts: dict[str, list[Item]] = {job_id: [] for job_id in newest}
    for one in sorted(found, key=lambda one: int(one["attempt"])):
        attempts[str(one["job_id"])].append(one)
    return attempts


STATES: Final[tuple[str, ...]] = get_args(State)
MIN_PREFIX: Final = 6
"""Characters of an id that name a job; fewer would soon be ambiguous."""
MAX_PAGE: Final = 1000
MAX_NAMED: Final = 5
"""Candidates that the message about an ambiguous name lists."""

_SHOWN: Final = (
    *("job_id", "name", "status", "attempt", "num_failures", "max_failures", "pool", "priority", "model"),
    *("worker_id", "lease_expires_at", "cancel_requested", "reason", "f1", "artifacts", "description", "tags"),
    *("undelivered_since", "num_undelivered", "next_try_at", "waits_for", "held_reason"),
    *("expected_s", "expected_usd", "max_hours", "max_usd", "created_at", "updated_at", "GSI1SK"),
    *("PK", "version", "queue_url"),
)
"""All but the spec, which is most of a row."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs; None admits all. `since`: created then or later; `due_at`: neither held nor paused at this moment."""

    status: str | None = None
    name: str | None = None
    pool: str | None = None
    since: datetime | None = None
    id_prefix: str | None = None
    due_at: datetime | None = None


def find(table: Table, wanted: Wanted, limit: int | None = None) -> list[Item]:
    """JOB rows without their spec, newest first, `limit` at most; pages of an index are read, never a row a job.

    They are as `presentable` shows them; without a limit the spec is not read, so nothing is said of it.
    """
    if wanted.name is not None:
        found = _partition(table, "GSI2", job_name_pk(wanted.name), wanted, limit)
        return list(islice(found, limit))
    statuses = STATES if wanted.status is None else (wanted.status,)
    partitions = [_partition(table, "GSI1", job_status_pk(status), wanted, limit) for status in statuses]
    newest_first = merge(*partitions, key=lambda row: str(row["GSI1SK"]), reverse=True)
    return list(islice(_once(newest_first), limit))


def _once(rows: Iterator[Item]) -> Iterator[Item]:
    """A job that changes its state while it is listed may be in two partitions."""
    seen: set[str] = set()
    for row in rows:
        if row["job_id"] not in seen:
            seen.add(row["job_id"])
            yield row


def _partition(table: Table, index: str, value: str, wanted: Wanted, limit: int | None) -> Iterator[Item]:
    keys, values = f"{index}PK = :pk", {":pk": value}
    if wanted.since is not None:
        keys, values[":since"] = f"{keys} AND {index}SK >= :since", iso(wanted.since)
    tests, names = [], {f"#{name}": name for name in (*_SHOWN, *(() if limit is None else ("spec",)))}
    for field, text in (("pool", wanted.pool), ("status", wanted.status if index == "GSI2" else None)):
        if text is not None:
            tests.append(f"#{field} = :{field}")
            values[f":{field}"] = text
    if wanted.id_prefix is not None:
        tests.append("begins_with(#job_id, :prefix)")
        values[":prefix"] = wanted.id_prefix
    if wanted.due_at is not None:
        due = "attribute_not_exists(#next_try_at) OR #next_try_at <= :due"
        tests.append(f"attribute_not_exists(#held_reason) AND ({due})")
        values[":due"] = iso(wanted.due_at)
    given: dict[str, Any] = {"FilterExpression": " AND ".join(tests)} if tests else {}
    # What a filter leaves out counts as read: only without one is the page as long as what is wanted.
    page = MAX_PAGE if tests or limit is None else min(MAX_PAGE, limit)
    rows = dynamo.query(
        *table,
        "list jobs",
        IndexName=index,
        KeyConditionExpression=keys,
        ExpressionAttributeValues=values,
        ExpressionAttributeNames=names,
        ProjectionExpression=", ".join(names),
        ScanIndexForward=False,
        Limit=page,
        **given,
    )
    return ({name: value for name, value in presentable(row).items() if name != "spec"} for row in rows)


def job_id_of(table: Table, called: str) -> str:
    """The id of the job that is called so: by its id, by its name if one job bears it, by the beginning of its id.

    Raises:
        UserError: no such job, or several: they are listed.
    """
    if not called or len(called) > 200:
        raise UserError("JOB must be a job's id, at least 6 characters of it, or its name")
    if row_of(table, called, JOB_SK, ("PK",)) is not None:
        return called
    found = find(table, Wanted(name=called), MAX_NAMED + 1)
    if not found and len(called) >= MIN_PREFIX:
        found = _of_prefix(table, called.lower())
    if not found:
        short = f" (of an id, give at least {MIN_PREFIX} characters)" if len(called) < MIN_PREFIX else ""
        raise UserError(f"there is no job '{called}' in table '{table.name}'{short}; `receipt-trainer jobs` lists them")
    if len(found) > 1:
        listed = "; ".join(f"{row['job_id']} {row['name']} {row['status']}" for row in found[:MAX_NAMED])
        more = "; and more" if len(found) > MAX_NAMED else ""
        raise UserError(f"'{called}' may be any of several jobs; name one by its id: {listed}{more}")
    return str(found[0]["job_id"])


def _of_prefix(table: Table, prefix: str) -> list[Item]:
    """Jobs whose id begins so, newest first; a query a state."""
    try:
        found = list(_once(_by_state(table, JOBS_BY_ID, "begins_with(job_id, :from)", prefix)))
    except NoIndexError:  # the stack is of a version before this index
        return find(table, Wanted(id_prefix=prefix), MAX_NAMED + 1)
    return sorted(found, key=lambda row: str(row.get("created_at")), reverse=True)


def find_changed(table: Table, since: datetime, states: Collection[str] = STATES) -> list[Item]:
    """Jobs of these states whose state has changed since then: job_id, name, status, pool, attempt; a query a state.

    Where the table lacks the index for it, all jobs' rows are read.
    """
    try:
        return list(_once(_by_state(table, JOBS_BY_CHANGE, "updated_at >= :from", iso(since), states)))
    except NoIndexError:  # the stack is of a version before this index
        found = find(table, Wanted())
    return [row for row in found if row["status"] in states and str(row.get("updated_at") or "") >= iso(since)]


def _by_state(
    table: Table, index: Index, condition: str, value: str, states: Collection[str] = STATES
) -> Iterator[Item]:
    """The jobs of each state in an index by state, from a value of its sort key on."""
    for status in STATES:
        if status not in states:
            continue
        rows = dynamo.query(
            *table,
            "find jobs",
            IndexName=index.name,
            KeyConditionExpression=f"#status = :status AND {condition}",
            ExpressionAttributeNames={"#status": index.partition},
            ExpressionAttributeValues={":status": status, ":from": value},
        )
        yield from (presentable(row) for row in rows if row["SK"] == JOB_SK)
