"""The row of a sweep in the jobs table: its definition, which never changes, and its limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract.job import MAX_ROW_BYTES
from receipt_trainer.contract.tables import SWEEP_SK, SWEEPS_PK, iso, sweep_pk
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.limits import Limits
from receipt_trainer.jobs.rows import TRIALS, partition_rows
from receipt_trainer.sweep.definition import Definition, refuse_other
from receipt_trainer.sweep.trial import Trial

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class SweepTable:
    """Methods raise UserError and WorldError as `receipt_trainer.aws.clients.aws_faults` says."""

    def __init__(self, client: DynamoDBClient, table: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.table, self._clock = Table(client, table), clock

    def define(self, definition: Definition, limits: Limits | None = None) -> None:
        """Store a new sweep; one that is there already must be the same. Its limits may be others each time.

        Raises:
            UserError: it is another one; says what differs. Or it is too large.
        """
        at = iso(self._clock())
        row: dynamo.Item = {"PK": sweep_pk(definition.name), "SK": SWEEP_SK, "TYPE": "SWEEP", "name": definition.name}
        row |= {"GSI1PK": SWEEPS_PK, "GSI1SK": f"{at}#{definition.name}", "created_at": at}
        row |= {"definition": definition.to_text()}
        if (size := dynamo.size_bytes(row)) > MAX_ROW_BYTES:
            raise UserError(f"the sweep takes {size:,} bytes in the jobs table; at most {MAX_ROW_BYTES:,}")
        bounds = limits or Limits()
        there = dynamo.put_new(*self.table, row | bounds.known(), "store the sweep")
        if there is not None:
            refuse_other(definition, Definition.from_text(there["definition"], definition.name))
            self.limit(definition.name, bounds)

    def limit(self, name: str, limits: Limits) -> None:
        """Bound what all jobs of a stored sweep may take together from now on; unset bounds stay."""
        known = limits.known()
        if not known:
            return
        with aws_faults("store the sweep's limits", table=self.table.name):
            self.table.client.update_item(
                TableName=self.table.name,
                Key=dynamo.serialise({"PK": sweep_pk(name), "SK": SWEEP_SK}),
                UpdateExpression="SET " + ", ".join(f"{key} = :{key}" for key in known),
                ConditionExpression="attribute_exists(PK)",
                ExpressionAttributeValues=dynamo.serialise({f":{key}": value for key, value in known.items()}),
            )

    def limits(self, name: str) -> Limits:
        """The limits of all jobs of the sweep together."""
        return Limits.read(self._row(name))

    def get(self, name: str) -> Definition:
        """The definition of a sweep; UserError: there is no such sweep."""
        return Definition.from_text(self._row(name)["definition"], name)

    def names(self) -> list[tuple[str, str]]:
        """(name, when it was made) of all sweeps, newest first."""
        rows = dynamo.query(
            *self.table,
            "list sweeps",
            IndexName="GSI1",
            KeyConditionExpression="GSI1PK = :pk",
            ExpressionAttributeValues={":pk": SWEEPS_PK},
            ScanIndexForward=False,
        )
        return [(str(row["name"]), str(row["created_at"])) for row in rows]

    def old_trials(self, name: str) -> list[Trial]:
        """The trials that version 0.1.0 has stored, a row each, by their number."""
        return [Trial.from_row(row) for row in self._rows(name, TRIALS)]

    def _row(self, name: str) -> Mapping[str, Any]:
        for row in self._rows(name, SWEEP_SK):
            return row
        raise UserError(
            f"there is no sweep '{name}' in table '{self.table.name}'; `receipt-trainer sweep-status` lists them"
        )

    def _rows(self, name: str, prefix: str) -> Iterator[dynamo.Item]:
        return partition_rows(self.table, sweep_pk(name), prefix, f"read sweep {name}")
