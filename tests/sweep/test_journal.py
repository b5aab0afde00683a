"""The journal under Optuna's storage: one order whoever writes, nothing lost, nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.errors import UserError
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.sweep.journal import JobsTableJournal, OvertakenError
from tests.fault_proxy import Answer, FaultProxy

BROKEN: Answer = (500, {"__type": "InternalServerError", "message": "the answer is lost"})


def journal(table: str) -> JobsTableJournal:
    """As another process has it."""
    return JobsTableJournal(clients.dynamodb(), table, "s")


def rows(table: str) -> Sequence[dict[str, Any]]:
    return list(dynamo.scan(clients.dynamodb(), table, "look"))


def test_racing_writers(jobs_table: str) -> None:
    """Of eight that write at once nothing is lost or twice, each one's entries stay in order, all read the same."""

    def write(writer: int) -> None:
        own = journal(jobs_table)
        for number in range(0, 12, 2):
            own.append_logs([{"writer": writer, "number": number + more} for more in range(2)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    found = journal(jobs_table).read_logs(0)
    assert len(found) == 8 * 12
    for writer in range(8):
        assert [entry["number"] for entry in found if entry["writer"] == writer] == [*range(12)]
    assert all(found[at]["writer"] == found[at + 1]["writer"] for at in range(0, len(found), 2))
    assert journal(jobs_table).read_logs(0) == found
    assert journal(jobs_table).read_logs(90) == found[90:]


def test_a_lost_answer_writes_nothing_twice(jobs_table: str, fault_proxy: FaultProxy, aws: LocalCloud) -> None:
    """The item was written and its answer lost: the same request, sent again, finds its own item."""
    direct = aws.client("dynamodb")

    def rule(name: str, count: int, body: dict[str, Any]) -> Answer | None:
        if name != "PutItem" or count > 1:
            return None
        direct.put_item(**body)
        return BROKEN

    fault_proxy.rule = rule
    own = journal(jobs_table)
    own.append_logs([{"number": 1}])
    own.append_logs([{"number": 2}])
    assert fault_proxy.calls["PutItem"] == 3
    assert [entry["number"] for entry in journal(jobs_table).read_logs(0)] == [1, 2]
    assert len(rows(jobs_table)) == 2


def test_what_is_too_large_for_an_item_takes_several(jobs_table: str) -> None:
    """In order, each below DynamoDB's 400 KB; one entry that is larger alone is refused, and nothing of it stored."""
    own = journal(jobs_table)
    entries = [{"number": number, "text": "é" * 15_000} for number in range(10)]  # 6 bytes each in JSON
    own.append_logs(entries)
    assert journal(jobs_table).read_logs(0) == entries
    assert len(rows(jobs_table)) > 1
    assert all(dynamo.size_bytes(row) < 400_000 for row in rows(jobs_table))
    with pytest.raises(UserError, match="bytes in the jobs table"):
        own.append_logs([{"text": "x" * 400_000}])
    assert journal(jobs_table).read_logs(0) == entries


def test_a_transaction(jobs_table: str) -> None:
    """It reads its own entries, is written at once, or not at all if somebody else has written since the last read."""
    own, other = journal(jobs_table), journal(jobs_table)
    with own.transaction():
        own.append_logs([{"number": 0}])
        own.append_logs([{"number": 1}])
        assert own.read_logs(0) == [{"number": 0}, {"number": 1}]
        assert own.read_logs(1) == [{"number": 1}]
        assert rows(jobs_table) == []
    assert len(rows(jobs_table)) == 1
    with pytest.raises(OvertakenError), other.transaction():
        other.append_logs([{"number": 2}])
    assert other.read_logs(0) == [{"number": 0}, {"number": 1}]
    with other.transaction():
        other.append_logs([{"number": 2}])
    assert own.read_logs(2) == [{"number": 2}]
