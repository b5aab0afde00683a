"""A job's metrics as curves: one value a step, whatever was trained twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.contract.tables import job_pk

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

ORDER: Final = ("eval_f1", "eval_loss", "loss", "eval_precision", "eval_recall", "learning_rate", "grad_norm")
"""What is shown first; other metrics follow by name."""


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric."""

    step: int
    epoch: float
    value: float
    timestamp: str


def read_curves(client: DynamoDBClient, table: str, job_id: str) -> dict[str, list[Point]]:
    """All curves of a job by the metric's name, in the order in which they are shown.

    Raises:
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """
    rows = dynamo.query(
        client,
        table,
        f"read the metrics of job {job_id}",
        KeyConditionExpression="PK = :pk AND begins_with(SK, :prefix)",
        ExpressionAttributeValues={":pk": job_pk(job_id), ":prefix": "METRIC#"},
        ConsistentRead=True,
    )
    return curves(rows)


def curves(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Point]]:
    """Curves of METRIC rows. Of a step that several attempts reached, the last attempt's value counts."""
    last: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        steps = last.setdefault(str(row["name"]), {})
        step = int(row["step"])
        if step not in steps or age(steps[step]) <= age(row):
            steps[step] = row
    names = [*(name for name in ORDER if name in last), *sorted(last.keys() - set(ORDER))]
    return {name: [_point(last[name][step]) for step in sorted(last[name])] for name in names}


def age(row: Mapping[str, Any]) -> tuple[int, str, int]:
    """Of the METRIC rows of one step, the one with the highest age counts."""
    return int(row.get("attempt") or 0), str(row["timestamp"]), int(row["seq"])


def _point(row: Mapping[str, Any]) -> Point:
    return Point(int(row["step"]), _number(row["epoch"]), _number(row["value"]), str(row["timestamp"]))


def _number(value: object) -> float:
    number = dynamo.to_float(value)
    return float("nan") if number is None else number


def latest(client: DynamoDBClient, table: str, job_id: str, name: str) -> Point | None:
    """The newest value of one metric, found by reading one page from the end; faults as `read_curves`."""
    rows = dynamo.query(
        client,
        table,
        f"read the metrics of job {job_id}",
        KeyConditionExpression="PK = :pk AND begins_with(SK, :prefix)",
        ExpressionAttributeValues={":pk": job_pk(job_id), ":prefix": f"METRIC#{name}#"},
        ScanIndexForward=False,
        Limit=5,
        ConsistentRead=True,
    )
    return next((_point(row) for row in rows if row["name"] == name), None)
