"""Optuna's journal of a sweep in the jobs table: entries in one order, also with several writers at once.

An item holds entries that were appended together; its sort key is the number of the first. A writer puts its item
behind the last one that it has read, on condition that nothing is there: of two writers one has to read first what the
other wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from optuna.storages.journal import BaseJournalBackend

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract.job import MAX_ROW_BYTES
from receipt_trainer.contract.tables import journal_sk, sweep_pk
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.rows import JOURNAL, partition_rows

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

Entry = dict[str, Any]


class OvertakenError(Exception):
    """Another process wrote first: what was to be written follows from outdated state."""


class JobsTableJournal(BaseJournalBackend):
    """The journal of one sweep. Methods raise UserError and WorldError as `aws_faults`."""

    def __init__(self, client: DynamoDBClient, table: str, sweep: str) -> None:
        self._table, self._sweep = Table(client, table), sweep
        self._end = 0
        self._held: list[Entry] | None = None

    def read_logs(self, log_number_from: int) -> list[Entry]:
        """The entries from this number on. Within `transaction` these are its own: nothing else is read."""
        if self._held is not None:
            return self._held[log_number_from - self._end :]
        begin, doing = journal_sk(log_number_from), f"read sweep {self._sweep}"
        rows = partition_rows(self._table, sweep_pk(self._sweep), JOURNAL, doing, begin=begin)
        found: list[Entry] = [entry for row in rows for entry in json.loads(row["entries"])]
        self._end = log_number_from + len(found)
        return found

    def append_logs(self, logs: list[Entry]) -> None:
        """Append entries behind those that are there."""
        if self._held is not None:
            self._held.extend(logs)
            return
        for batch in _batches(logs):
            while not self._put(batch):
                self.read_logs(self._end)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all that is appended within at once, on condition that nothing was written since the last read.

        What does not fit into one item takes several, of which the first ones may be all that is written.

        Raises:
            OvertakenError: something was; a storage that uses this journal has to be made anew.
        """
        self._held = []
        try:
            yield
            held = self._held
        finally:
            self._held = None
        for batch in _batches(held):
            if not self._put(batch):
                raise OvertakenError

    def _put(self, entries: Sequence[Entry]) -> bool:
        """Write an item; False if there is another one in its place."""
        mine = uuid4().hex
        row = {"PK": sweep_pk(self._sweep), "SK": journal_sk(self._end), "TYPE": "SWEEP_JOURNAL", "writer": mine}
        stored = {**row, "entries": _text(entries), "job_ids": _job_ids(entries)}
        there = dynamo.put_new(*self._table, stored, f"store what became of sweep {self._sweep}")
        if there is not None and there.get("writer") != mine:
            return False
        self._end += len(entries)
        return True


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """The entries in their order, as many together as an item takes; UserError: one alone is too large."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        own = len(_text([entry])) + sum(len(job_id) + 1 for job_id in _job_ids([entry]))
        if own > MAX_ROW_BYTES:
            raise UserError(f"a trial of the sweep takes {own:,} bytes in the jobs table; at most {MAX_ROW_BYTES:,}")
        if size + own > MAX_ROW_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += own
    if batch:
        yield batch


def _text(entries: Sequence[Entry]) -> str:
    return json.dumps(entries, separators=(",", ":"))


def _job_ids(entries: Sequence[Entry]) -> list[str]:
    """The jobs of the trials that are stored with these entries; workers, which have no Optuna, find them so."""
    attributes = [entry.get("user_attrs") or entry.get("user_attr") or {} for entry in entries]
    return [run["job_id"] for values in attributes for run in values.get("trial", {}).get("runs", ())]
