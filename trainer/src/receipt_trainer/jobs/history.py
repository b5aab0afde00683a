"""What happened to a job: its attempts, checkpoints and changes of state, as plain rows for people and scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.contract import cost
from receipt_trainer.contract.tables import JOB_SK, job_pk

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_ATTEMPT: Final = (
    *("attempt", "worker_id", "instance_id", "instance_type", "price_usd_per_h", "started_at", "ended_at"),
    *("outcome", "reason", "start_step", "checkpoint_step"),
)
_CHECKPOINT: Final = ("step", "epoch", "attempt", "at", "path", "size_bytes")
_TRANSITION: Final = ("at", "from", "to", "attempt", "worker_id", "reason")


@dataclass(frozen=True, slots=True)
class Past:
    """Attempts by their number, each with `seconds`, `usd` (None if unknown) and `at_list_price`; transitions in order.

    Checkpoints are those that are kept, by their step.
    """

    attempts: list[dict[str, Any]]
    transitions: list[dict[str, Any]]
    cost: cost.Cost
    checkpoints: list[dict[str, Any]]


def read_past(
    client: DynamoDBClient, table: str, job_id: str, now: datetime, list_price: cost.ListPrice | None = None
) -> Past:
    """Read all of it.

    Args:
        list_price: asked for the price of an attempt that has none.

    Raises:
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """

    # By their count, the end of the key: workers' clocks may differ.
    changes = sorted(_rows(client, table, job_id, "STATUS#"), key=lambda row: str(row["SK"]).rpartition("#")[2])
    transitions = [{key: row.get(key) for key in _TRANSITION} for row in changes]
    kept = [{key: row.get(key) for key in _CHECKPOINT} for row in _rows(client, table, job_id, "CHECKPOINT#")]
    attempts, spent = read_attempts(client, table, job_id, now, list_price)
    return Past(attempts, transitions, spent, kept)


def read_attempts(
    client: DynamoDBClient, table: str, job_id: str, now: datetime, list_price: cost.ListPrice | None = None
) -> tuple[list[dict[str, Any]], cost.Cost]:
    """The attempts alone, and what they cost; see `read_past`."""
    attempts = _rows(client, table, job_id, "ATTEMPT#")
    if attempts and not attempts[-1].get("ended_at"):
        job = next(iter(_rows(client, table, job_id, JOB_SK)), {})
        now = cost.open_until(now, job.get("lease_expires_at"))
    return _priced(attempts, now, list_price), cost.of_attempts(attempts, now, list_price)


def _rows(client: DynamoDBClient, table: str, job_id: str, prefix: str) -> list[dict[str, Any]]:
    values = {":pk": job_pk(job_id), ":prefix": prefix}
    keys = "PK = :pk AND begins_with(SK, :prefix)"
    doing = f"read the past of job {job_id}"
    given = {"KeyConditionExpression": keys, "ExpressionAttributeValues": values, "ConsistentRead": True}
    return list(dynamo.query(client, table, doing, **given))


def _priced(
    attempts: Sequence[Mapping[str, Any]], now: datetime, list_price: cost.ListPrice | None
) -> list[dict[str, Any]]:
    priced = []
    for at, row in enumerate(attempts):
        spent_s = cost.seconds(row, now, attempts[at + 1] if at + 1 < len(attempts) else None)
        price, is_listed = cost.price_and_source(row, list_price)
        usd = None if spent_s is None or price is None else spent_s * price / 3600
        priced.append(
            {key: row.get(key) for key in _ATTEMPT} | {"seconds": spent_s, "usd": usd, "at_list_price": is_listed}
        )
    return priced
