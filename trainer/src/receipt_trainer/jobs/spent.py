"""What jobs have taken so far, of many jobs in few requests: their attempts are read by their keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.contract import cost
from receipt_trainer.contract.tables import attempt_sk, job_pk

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_READ: Final = ("job_id", "attempt", "started_at", "ended_at", "price_usd_per_h")


def read_spent(
    client: DynamoDBClient, table: str, rows: Sequence[Mapping[str, Any]], now: datetime
) -> dict[str, cost.Cost]:
    """Time and money of jobs by their ids; a request a hundred attempts.

    Args:
        rows: JOB rows, with `attempt` and `lease_expires_at`.

    Raises:
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """
    keys = [
        {"PK": job_pk(row["job_id"]), "SK": attempt_sk(number)}
        for row in rows
        for number in range(1, int(row.get("attempt") or 0) + 1)
    ]
    of: defaultdict[str, list[dynamo.Item]] = defaultdict(list)
    for attempt in dynamo.batch_get(client, table, "read the attempts of jobs", keys, _READ) if keys else ():
        of[str(attempt["job_id"])].append(attempt)
    found = {}
    for row in rows:
        attempts = sorted(of[row["job_id"]], key=lambda attempt: int(attempt["attempt"]))
        found[row["job_id"]] = cost.of_attempts(attempts, cost.open_until(now, row.get("lease_expires_at")))
    return found
