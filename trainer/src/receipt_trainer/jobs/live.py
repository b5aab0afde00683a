"""A job as it goes on: read again and again, and each time only what has come since."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws.dynamo import Item
from receipt_trainer.contract.cost import Cost, ListPrice
from receipt_trainer.jobs.delivery import is_over
from receipt_trainer.jobs.history import read_attempts
from receipt_trainer.jobs.metrics import Point, age, curves
from receipt_trainer.jobs.rows import get_job
from receipt_trainer.jobs.tail import Line, LogTail, RowTail
from receipt_trainer.jobs.throughput import Pace, pace_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

METRICS: Final = ("loss", "eval_loss", "eval_f1", "eval_accuracy", "learning_rate")
NUM_LINES: Final = 50
"""Lines of the log that are kept: more than any screen shows."""


@dataclass(frozen=True, slots=True)
class JobView:
    """What is known of a job at one moment.

    Attributes:
        row: the job's own row.
        attempts: as in `receipt_trainer.jobs.history.Past`.
        curves: values by the metric's name and step, whatever was trained twice.
        lines: the last lines of the log.
        new_lines: those that came since the view before.
        at: the moment.
    """

    row: Item
    attempts: list[dict[str, Any]]
    cost: Cost
    curves: dict[str, list[Point]]
    lines: list[Line]
    new_lines: list[Line]
    pace: Pace
    at: datetime

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come by itself."""
        return is_over(self.row)


class LiveJob:
    """Reads one job; each metric and the log are read behind the last row that is known."""

    def __init__(self, client: DynamoDBClient, table: str, job_id: str, list_price: ListPrice | None = None) -> None:
        """Read nothing yet; `list_price` is asked for the price of an attempt that has none."""
        self._client, self._table, self._job_id, self._list_price = client, table, job_id, list_price
        self._log = LogTail(client, table, job_id)
        self._metrics = [RowTail(client, table, job_id, f"METRIC#{name}#", "read the metrics") for name in METRICS]
        self._newest: dict[tuple[str, int], Item] = {}
        self._lines: deque[Line] = deque(maxlen=NUM_LINES)
        self._spec: dict[str, Any] | None = None

    def look(self, now: datetime) -> JobView:
        """The job now.

        Raises:
            UserError: no such job.
            UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
        """
        row = get_job(self._client, self._table, self._job_id)  # first: what an ended job wrote is then in the rest
        if self._spec is None:
            self._spec = _spec_of(row)
            new_lines = self._log.last(NUM_LINES)
        else:
            new_lines = self._log.more()
        self._lines.extend(new_lines)
        for tail in self._metrics:
            self._keep(tail.more())
        found = curves(self._newest.values())
        attempts, cost = read_attempts(self._client, self._table, self._job_id, now, self._list_price)
        pace = pace_of(self._spec, self._of_attempt(int(row.get("attempt") or 0)), running=row["status"] == "RUNNING")
        return JobView(row, attempts, cost, found, list(self._lines), new_lines, pace, now)

    def _keep(self, rows: Sequence[Item]) -> None:
        for row in rows:
            key = (str(row["name"]), int(row["step"]))
            if key not in self._newest or age(self._newest[key]) <= age(row):
                self._newest[key] = row

    def _of_attempt(self, attempt: int) -> list[Point]:
        """The losses of the newest attempt: only they say how fast it is. Without one, of all."""
        rows = [row for (name, _), row in self._newest.items() if name == "loss"]
        own = [row for row in rows if int(row.get("attempt") or 0) == attempt]
        return curves(own or rows).get("loss", [])


def _spec_of(row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        spec = json.loads(row.get("spec") or "{}")
    except ValueError:
        return {}
    return spec if isinstance(spec, dict) else {}


def last_value(points: Sequence[Point]) -> Point | None:
    """The last point that has a value."""
    return next((point for point in reversed(points) if math.isfinite(point.value)), None)
