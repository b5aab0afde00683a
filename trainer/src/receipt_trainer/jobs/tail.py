"""A job's log, read as it grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.contract.tables import job_pk
from receipt_trainer.jobs.cost import moment
from receipt_trainer.jobs.store import iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

OVERLAP: Final = timedelta(seconds=30)
"""How far back each reading looks: rows of a batch do not land in their order, and workers' clocks differ."""

_PREFIX: Final = "LOG#"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log; `attempt` is None in rows of a run without a worker."""

    key: str
    timestamp: str
    level: str
    message: str
    attempt: int | None


class LogTail:
    """Reads a log piece by piece; no line comes twice, and what was read before is not read again."""

    def __init__(self, client: DynamoDBClient, table: str, job_id: str) -> None:
        """Read nothing yet."""
        self._client, self._table, self._job_id = client, table, job_id
        self._from = _PREFIX
        self._seen: set[str] = set()

    def last(self, num_lines: int) -> list[Line]:
        """The last lines only; `more` goes on behind them.

        Raises:
            UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
        """
        rows = list(islice(self._query(_PREFIX, ScanIndexForward=False, Limit=max(1, num_lines)), max(1, num_lines)))
        lines = [_line(row) for row in reversed(rows)]
        if lines:
            self._advance(lines)
            # What lies before the wanted lines within the overlap was not wanted either.
            self._seen |= {str(row["SK"]) for row in self._query(self._from) if str(row["SK"]) < lines[0].key}
        return lines if num_lines else []

    def more(self) -> list[Line]:
        """The lines that have come since, in the order of their time; faults as `last`."""
        lines = [_line(row) for row in self._query(self._from) if row["SK"] not in self._seen]
        if lines:
            self._advance(lines)
        return lines

    def _advance(self, lines: list[Line]) -> None:
        self._seen |= {line.key for line in lines}
        newest = moment(max(line.timestamp for line in lines))
        if newest is not None:
            self._from = max(self._from, f"{_PREFIX}{iso(newest - OVERLAP)}")
        self._seen = {key for key in self._seen if key >= self._from}

    def _query(self, begin: str, **more: Any) -> Any:
        return dynamo.query(
            self._client,
            self._table,
            f"read the log of job {self._job_id}",
            KeyConditionExpression="PK = :pk AND SK BETWEEN :begin AND :end",
            ExpressionAttributeValues={":pk": job_pk(self._job_id), ":begin": begin, ":end": f"{_PREFIX}~"},
            ConsistentRead=True,
            **more,
        )


def _line(row: Mapping[str, Any]) -> Line:
    attempt = row.get("attempt")
    return Line(
        key=str(row["SK"]),
        timestamp=str(row["timestamp"]),
        level=str(row["level"]),
        message=str(row["message"]),
        attempt=int(attempt) if isinstance(attempt, int | float) else None,
    )
