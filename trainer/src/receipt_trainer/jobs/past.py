"""What happened to a job: its attempts and its changes of state, as plain rows for people and scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.contract.tables import job_pk
from receipt_trainer.jobs import cost

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_ATTEMPT: Final = (
    *("attempt", "worker_id", "instance_id", "instance_type", "price_usd_per_h", "started_at", "ended_at"),
    *("outcome", "reason", "start_step", "checkpoint_step"),
)
_TRANSITION: Final = ("at", "from", "to", "attempt", "worker_id", "reason")


@dataclass(frozen=True, slots=True)
class Past:
    """Attempts by their number, each with `seconds` and `usd` (None if unknown), and transitions in their order."""

    attempts: list[dict[str, Any]]
    transitions: list[dict[str, Any]]
    cost: cost.Cost


def read_past(client: DynamoDBClient, table: str, job_id: str, now: datetime) -> Past:
    """Read both.

    Raises:
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """

    def rows(prefix: str) -> list[dict[str, Any]]:
        values = {":pk": job_pk(job_id), ":prefix": prefix}
        keys = "PK = :pk AND begins_with(SK, :prefix)"
        doing = f"read the past of job {job_id}"
        given = {"KeyConditionExpression": keys, "ExpressionAttributeValues": values, "ConsistentRead": True}
        return list(dynamo.query(client, table, doing, **given))

    attempts = rows("ATTEMPT#")
    # By their count, the end of the key: workers' clocks may differ.
    changes = sorted(rows("STATUS#"), key=lambda row: str(row["SK"]).rpartition("#")[2])
    transitions = [{key: row.get(key) for key in _TRANSITION} for row in changes]
    return Past(_priced(attempts, now), transitions, cost.of_attempts(attempts, now))


def _priced(attempts: Sequence[Mapping[str, Any]], now: datetime) -> list[dict[str, Any]]:
    priced = []
    for at, row in enumerate(attempts):
        spent_s = cost.seconds(row, now, attempts[at + 1] if at + 1 < len(attempts) else None)
        price = cost.price_usd_per_h(row)
        usd = None if spent_s is None or price is None else spent_s * price / 3600
        priced.append({key: row.get(key) for key in _ATTEMPT} | {"seconds": spent_s, "usd": usd})
    return priced
