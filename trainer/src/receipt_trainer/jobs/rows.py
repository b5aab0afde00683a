"""The jobs table, read: rows of a job by the beginning of their sort key, and a job's own row for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.dynamo import Item
from receipt_trainer.contract.job_row import presentable
from receipt_trainer.contract.tables import JOB_SK, attempt_sk, job_pk
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

ATTEMPTS: Final = "ATTEMPT#"
CHECKPOINTS: Final = "CHECKPOINT#"
LOGS: Final = "LOG#"
METRICS: Final = "METRIC#"
TRANSITIONS: Final = "STATUS#"
TRIALS: Final = "TRIAL#"
"""Kinds of rows of a job, the last of a sweep: what their sort keys begin with."""


def rows_of(client: DynamoDBClient, table: str, job_id: str, prefix: str, **more: Any) -> Iterator[Item]:
    """The rows of a job whose sort keys begin so, in the order of those; see `partition_rows`."""
    return partition_rows(client, table, job_pk(job_id), prefix, f"read job {job_id}", **more)


def partition_rows(
    client: DynamoDBClient,
    table: str,
    partition: str,
    prefix: str,
    doing: str,
    *,
    begin: str | None = None,
    attributes: Sequence[str] = (),
    newest_first: bool = False,
    page: int | None = None,
) -> Iterator[Item]:
    """The rows of one partition key whose sort keys begin so, as they are now.

    Args:
        partition: see `receipt_trainer.contract.tables`.
        prefix: of the sort keys.
        doing: what a fault's message says was tried.
        begin: sort key of the first row, itself with that prefix; None: all of them.
        attributes: what is read of each row; empty: the whole row.
        newest_first: in the reverse order of the sort keys.
        page: rows of one request at most.

    Raises:
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """
    given = _projection(attributes) | ({} if page is None else {"Limit": page})
    keys, values = "begins_with(SK, :prefix)", {":prefix": prefix}
    if begin is not None:
        keys, values = "SK BETWEEN :begin AND :end", {":begin": begin, ":end": f"{prefix}~"}
    return dynamo.query(
        client,
        table,
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


def row_of(
    client: DynamoDBClient, table: str, job_id: str, sort_key: str, attributes: Sequence[str] = ()
) -> Item | None:
    """One row of a job as it is now; None if it is not there. Faults as `partition_rows`."""
    found = dynamo.query(
        client,
        table,
        f"read job {job_id}",
        KeyConditionExpression="PK = :pk AND SK = :sk",
        ExpressionAttributeValues={":pk": job_pk(job_id), ":sk": sort_key},
        ConsistentRead=True,
        **_projection(attributes),
    )
    return next(found, None)


def get_job(client: DynamoDBClient, table: str, job_id: str) -> Item:
    """The job's own row, as `presentable` shows it.

    Raises:
        UserError: no such job.
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """
    found = row_of(client, table, job_id, JOB_SK)
    if found is None:
        raise UserError(f"there is no job '{job_id}' in table '{table}'")
    return presentable(found)


def spec_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved spec in a job's row; empty where a run without a worker stored none."""
    try:
        spec = json.loads(row.get("spec") or "{}")
    except ValueError:
        return {}
    return spec if isinstance(spec, dict) else {}


def attempts_of(
    client: DynamoDBClient, table: str, newest: Mapping[str, int], attributes: Sequence[str]
) -> dict[str, list[Item]]:
    """The ATTEMPT rows of several jobs in their order, by the job's id; a request a hundred rows.

    Args:
        newest: number of the last wanted attempt of each job, by its id.
        attributes: what is read of each row.
    """
    keys = [
        {"PK": job_pk(job_id), "SK": attempt_sk(number)}
        for job_id, last in newest.items()
        for number in range(1, last + 1)
    ]
    read = dict.fromkeys(("job_id", "attempt", *attributes))
    found = dynamo.batch_get(client, table, "read the attempts of jobs", keys, tuple(read)) if keys else []
    attempts: dict[str, list[Item]] = {job_id: [] for job_id in newest}
    for one in sorted(found, key=lambda one: int(one["attempt"])):
        attempts[str(one["job_id"])].append(one)
    return attempts
