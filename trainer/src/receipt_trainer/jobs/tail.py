"""A job's log, read as it grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.dynamo import Item
from receipt_trainer.contract.cost import moment
from receipt_trainer.contract.tables import job_pk
from receipt_trainer.jobs.metrics_writer import iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

OVERLAP: Final = timedelta(seconds=30)
"""How far back each reading looks: rows of a batch do not land in their order, and workers' clocks differ."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log; `attempt` is None in rows of a run without a worker."""

    key: str
    timestamp: str
    level: str
    message: str
    attempt: int | None


class RowTail:
    """Reads rows whose sort keys go on with the time, piece by piece.

    No row comes twice, and what was read before is not read again but for the last seconds of it.
    """

    def __init__(self, client: DynamoDBClient, table: str, job_id: str, prefix: str, doing: str) -> None:
        """Read nothing yet.

        Args:
            prefix: of the sort keys; behind it stands the time.
            doing: what a fault's message says was tried.
        """
        self._client, self._table, self._job_id = client, table, job_id
        self._prefix, self._doing = prefix, doing
        self._from = prefix
        self._seen: set[str] = set()

    def last(self, num_rows: int) -> list[Item]:
        """The last rows only; `more` goes on behind them.

        Raises:
            UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
        """
        wanted = max(1, num_rows)
        rows = list(islice(self._query(self._prefix, ScanIndexForward=False, Limit=wanted), wanted))[::-1]
        if rows:
            self._advance(rows)
            # What lies before the wanted rows within the overlap was not wanted either.
            self._seen |= {str(row["SK"]) for row in self._query(self._from) if str(row["SK"]) < str(rows[0]["SK"])}
        return rows if num_rows else []

    def more(self) -> list[Item]:
        """The rows that have come since, in the order of their time; faults as `last`."""
        rows = [row for row in self._query(self._from) if row["SK"] not in self._seen]
        if rows:
            self._advance(rows)
        return rows

    def _advance(self, rows: Sequence[Item]) -> None:
        self._seen |= {str(row["SK"]) for row in rows}
        newest = moment(max(str(row["timestamp"]) for row in rows))
        if newest is not None:
            self._from = max(self._from, f"{self._prefix}{iso(newest - OVERLAP)}")
        self._seen = {key for key in self._seen if key >= self._from}

    def _query(self, begin: str, **more: Any) -> Any:
        return dynamo.query(
            self._client,
            self._table,
            f"{self._doing} of job {self._job_id}",
            KeyConditionExpression="PK = :pk AND SK BETWEEN :begin AND :end",
            ExpressionAttributeValues={":pk": job_pk(self._job_id), ":begin": begin, ":end": f"{self._prefix}~"},
            ConsistentRead=True,
            **more,
        )


class LogTail:
    """Reads a log piece by piece; no line comes twice, and what was read before is not read again."""

    def __init__(self, client: DynamoDBClient, table: str, job_id: str) -> None:
        """Read nothing yet."""
        self._rows = RowTail(client, table, job_id, "LOG#", "read the log")

    def last(self, num_lines: int) -> list[Line]:
        """See `RowTail`."""
        return [_line(row) for row in self._rows.last(num_lines)]

    def more(self) -> list[Line]:
        """See `RowTail`."""
        return [_line(row) for row in self._rows.more()]


def _line(row: Mapping[str, Any]) -> Line:
    attempt = row.get("attempt")
    return Line(
        key=str(row["SK"]),
        timestamp=str(row["timestamp"]),
        level=str(row["level"]),
        message=str(row["message"]),
        attempt=int(attempt) if isinstance(attempt, int | float) else None,
    )
