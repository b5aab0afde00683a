"""Sweeps in the jobs table: a definition that never changes, and a row for each trial; every write is conditional."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.clients import aws_faults, error_code
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract.job_limits import MAX_ROW_BYTES
from receipt_trainer.contract.tables import SWEEP_SK, SWEEPS_PK, iso, sweep_pk
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.limits import Limits
from receipt_trainer.sweep.definition import Definition, refuse_other
from receipt_trainer.sweep.trial import Trial, shared

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class SweepTable:
    """Methods raise UserError and WorldError as `receipt_trainer.aws.clients.aws_faults` says."""

    def __init__(self, client: DynamoDBClient, table: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        """Take the jobs table; `clock` is the time of day."""
        self._client, self._table, self._clock = client, table, clock

    def define(self, definition: Definition, limits: Limits | None = None) -> None:
        """Store a new sweep; one that is there already must be the same. Its limits may be others each time.

        Raises:
            UserError: it is another one; says what differs. Or it is too large.
        """
        at = iso(self._clock())
        row = {"PK": sweep_pk(definition.name), "SK": SWEEP_SK, "TYPE": "SWEEP", "name": definition.name}
        row |= {"GSI1PK": SWEEPS_PK, "GSI1SK": f"{at}#{definition.name}", "created_at": at}
        bounds: dict[str, Any] = {**(limits or Limits()).known()}
        row |= {"definition": definition.to_text()}
        if (size := dynamo.size_bytes(row)) > MAX_ROW_BYTES:
            raise UserError(f"the sweep takes {size:,} bytes in the jobs table; at most {MAX_ROW_BYTES:,}")
        if not self._put(row | bounds, "store the sweep"):
            refuse_other(definition, self.get(definition.name))
            self.limit(definition.name, limits or Limits())

    def limit(self, name: str, limits: Limits) -> None:
        """Bound what all jobs of a stored sweep may take together from now on; unset bounds stay."""
        known = limits.known()
        if not known:
            return
        with aws_faults("store the sweep's limits", table=self._table):
            self._client.update_item(
                TableName=self._table,
                Key=dynamo.serialise({"PK": sweep_pk(name), "SK": SWEEP_SK}),
                UpdateExpression="SET " + ", ".join(f"{key} = :{key}" for key in known),
                ConditionExpression="attribute_exists(PK)",
                ExpressionAttributeValues=dynamo.serialise({f":{key}": value for key, value in known.items()}),
            )

    def limits(self, name: str) -> Limits:
        """What all jobs of the sweep may take together."""
        return self.read(name)[0]

    def get(self, name: str) -> Definition:
        """The definition of a sweep.

        Raises:
            UserError: there is no such sweep.
        """
        for row in self._rows(name):
            if row["SK"] == SWEEP_SK:
                return Definition.from_text(row["definition"], name)
        raise UserError(
            f"there is no sweep '{name}' in table '{self._table}'; `receipt-trainer sweep-status` lists them"
        )

    def names(self) -> list[tuple[str, str]]:
        """(name, when it was made) of all sweeps, newest first."""
        rows = dynamo.query(
            self._client,
            self._table,
            "list sweeps",
            IndexName="GSI1",
            KeyConditionExpression="GSI1PK = :pk",
            ExpressionAttributeValues={":pk": SWEEPS_PK},
            ScanIndexForward=False,
        )
        return [(str(row["name"]), str(row["created_at"])) for row in rows]

    def trials(self, name: str) -> list[Trial]:
        """The trials of a sweep by their number; one that is the same as an earlier one shares its jobs and state."""
        return self.read(name)[1]

    def read(self, name: str) -> tuple[Limits, list[Trial]]:
        """Limits and trials, see `limits` and `trials`; in one look."""
        limits, found = Limits(), dict[int, Trial]()
        for row in self._rows(name):
            if row["SK"] == SWEEP_SK:
                limits = Limits.read(row)
            else:
                trial = Trial.from_row(row)
                found[trial.number] = trial
        return limits, shared(list(found.values()))

    def add(self, trial: Trial) -> bool:
        """Store a new trial; False if one of this number is there, whatever it is."""
        return self._put(trial.to_row() | {"updated_at": iso(self._clock())}, "store the trial")

    def change(self, before: Trial, after: Trial) -> Trial:
        """Store a trial's new state; where somebody else changed it meanwhile, `after` is only what was seen."""
        changed = replace(after, version=before.version + 1)
        row = changed.to_row() | {"updated_at": iso(self._clock())}
        condition = {
            "ConditionExpression": "#version = :read",
            "ExpressionAttributeNames": {"#version": "version"},
            "ExpressionAttributeValues": dynamo.serialise({":read": before.version}),
        }
        return changed if self._put(row, "store the trial's state", condition) else after

    def _put(self, row: Mapping[str, Any], doing: str, condition: Mapping[str, Any] | None = None) -> bool:
        given = condition or {"ConditionExpression": "attribute_not_exists(PK)"}
        try:
            with aws_faults(doing, table=self._table):
                self._client.put_item(TableName=self._table, Item=dynamo.serialise(row), **given)
        except WorldError as error:
            if error_code(error.__cause__) != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def _rows(self, name: str) -> list[dict[str, Any]]:
        return list(
            dynamo.query(
                self._client,
                self._table,
                f"read sweep {name}",
                KeyConditionExpression="PK = :pk",
                ExpressionAttributeValues={":pk": sweep_pk(name)},
                ConsistentRead=True,
            )
        )
