"""What an earlier attempt never wrote, as a vanished worker takes its last rows with it: metrics, and checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.dynamo import Item
from receipt_trainer.contract.sinks import Sealed
from receipt_trainer.contract.tables import job_pk
from receipt_trainer.jobs.metrics import ORDER

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

NAMES: Final = (*ORDER, "eval_accuracy", "field_accuracy", "teds", "numeric_accuracy", "parse_share")
"""Metrics that runs write; what else a history holds is for the trainer alone."""


def missing(
    client: DynamoDBClient, table: str, job_id: str, history: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, float, int, float]]:
    """Name, value, step and epoch of what the history has and the table has not.

    Args:
        history: `log_history` of the checkpoint from which the attempt goes on.

    Raises:
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """
    rows = _rows(client, table, job_id, "METRIC#", ["name", "step"])
    stored = {(row["name"], row["step"]) for row in rows}
    for logged in history:
        for name in NAMES:
            if name in logged and (name, logged["step"]) not in stored:
                yield name, float(logged[name]), int(logged["step"]), float(logged["epoch"])


def wrong_checkpoints(
    client: DynamoDBClient, table: str, job_id: str, sealed: Sequence[Sealed]
) -> tuple[list[int], list[Sealed]]:
    """Steps of rows whose checkpoint is not there, and checkpoints that have no whole row.

    Raises:
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """
    rows = list(_rows(client, table, job_id, "CHECKPOINT#", ["step", "size_bytes"]))
    there = {one.step for one in sealed}
    whole = {int(row["step"]) for row in rows if "size_bytes" in row}  # a worker that ends names the step alone
    gone = [int(row["step"]) for row in rows if int(row["step"]) not in there]
    return gone, [one for one in sealed if one.step not in whole]


def _rows(client: DynamoDBClient, table: str, job_id: str, prefix: str, names: Sequence[str]) -> Iterator[Item]:
    """These attributes of a job's rows whose sort keys begin so."""
    return dynamo.query(
        client,
        table,
        f"read the rows {prefix} of job {job_id}",
        KeyConditionExpression="PK = :pk AND begins_with(SK, :prefix)",
        ExpressionAttributeValues={":pk": job_pk(job_id), ":prefix": prefix},
        ExpressionAttributeNames={f"#{name}": name for name in names},
        ProjectionExpression=", ".join(f"#{name}" for name in names),
        ConsistentRead=True,
    )
