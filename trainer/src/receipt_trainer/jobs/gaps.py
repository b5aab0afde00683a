"""Metrics that an earlier attempt trained and never wrote, as a vanished worker takes its last rows with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.contract.tables import job_pk
from receipt_trainer.jobs.curves import ORDER

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

NAMES: Final = (*ORDER, "eval_accuracy")
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
    rows = dynamo.query(
        client,
        table,
        f"read the metrics of job {job_id}",
        KeyConditionExpression="PK = :pk AND begins_with(SK, :prefix)",
        ExpressionAttributeValues={":pk": job_pk(job_id), ":prefix": "METRIC#"},
        ExpressionAttributeNames={"#name": "name", "#step": "step"},
        ProjectionExpression="#name, #step",
        ConsistentRead=True,
    )
    stored = {(row["name"], row["step"]) for row in rows}
    for logged in history:
        for name in NAMES:
            if name in logged and (name, logged["step"]) not in stored:
                yield name, float(logged[name]), int(logged["step"]), float(logged["epoch"])
