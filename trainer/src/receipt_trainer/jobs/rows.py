"""The jobs table's rows: put a job, read it, its metrics and its log back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.dynamo import Item
from receipt_trainer.contract.job_row import presentable
from receipt_trainer.contract.tables import JOB_SK, job_name_pk, job_order, job_pk, job_status_pk
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One value of one metric, as stored; `attempt` is None in rows of a run without a worker."""

    name: str
    value: float
    step: int
    epoch: float
    timestamp: str
    seq: int
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line of a job's log, as stored; `attempt` as in `MetricRow`."""

    level: str
    message: str
    timestamp: str
    seq: int
    attempt: int | None = None


def put_job(
    client: DynamoDBClient,
    table: str,
    job_id: str,
    *,
    name: str,
    status: str,
    created_at: str,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write the job's own row over the one that is there; GSI1 finds it by status, GSI2 by name, in order of time.

    Raises:
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """
    own = {"PK": job_pk(job_id), "SK": JOB_SK, "TYPE": "JOB", "job_id": job_id, "name": name, "status": status}
    keys, order = {"GSI1PK": job_status_pk(status), "GSI2PK": job_name_pk(name)}, job_order(created_at, job_id)
    sort = {"GSI1SK": order, "GSI2SK": order, "created_at": created_at}
    dynamo.put(client, table, {**(attributes or {}), **own, **keys, **sort}, "write the job")


def get_job(client: DynamoDBClient, table: str, job_id: str) -> Item:
    """The job's own row, as `presentable` shows it.

    Raises:
        UserError: no such job, or as `put_job`.
        WorldError: as `put_job`.
    """
    for item in _rows(client, table, job_id, JOB_SK):
        if item["SK"] == JOB_SK:
            return presentable(item)
    raise UserError(f"there is no job '{job_id}' in table '{table}'")


def read_metrics(client: DynamoDBClient, table: str, job_id: str, name: str | None = None) -> list[MetricRow]:
    """The metrics of a job, all or those called `name`, in order of time; faults as `put_job`."""
    rows = [
        MetricRow(
            name=str(item["name"]),
            value=_number(item["value"]),
            step=int(item["step"]),
            epoch=_number(item["epoch"]),
            timestamp=str(item["timestamp"]),
            seq=int(item["seq"]),
            attempt=item.get("attempt"),
        )
        for item in _rows(client, table, job_id, "METRIC#" if name is None else f"METRIC#{name}#")
        if name is None or item["name"] == name
    ]
    return sorted(rows, key=lambda row: (row.timestamp, row.seq))


def read_logs(client: DynamoDBClient, table: str, job_id: str) -> list[LogRow]:
    """The log of a job in order of time; faults as `put_job`."""
    rows = [
        LogRow(str(item["level"]), str(item["message"]), str(item["timestamp"]), int(item["seq"]), item.get("attempt"))
        for item in _rows(client, table, job_id, "LOG#")
    ]
    return sorted(rows, key=lambda row: (row.timestamp, row.seq))


def _rows(client: DynamoDBClient, table: str, job_id: str, prefix: str) -> Iterator[Item]:
    return dynamo.query(
        client,
        table,
        f"read job {job_id}",
        KeyConditionExpression="PK = :pk AND begins_with(SK, :prefix)",
        ExpressionAttributeValues={":pk": job_pk(job_id), ":prefix": prefix},
        ConsistentRead=True,
    )


def _number(value: object) -> float:
    number = dynamo.to_float(value)
    return float("nan") if number is None else number
