from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from receipt_trainer.aws import clients, dynamo

TABLE_KEYS = {"PK": {"S": "p"}}


def _key(name: str) -> dict[str, Any]:
    return TABLE_KEYS | {"SK": {"S": name}}


def _count(table: str, name: str, by: int = 1) -> dict[str, Any]:
    return {
        "TableName": table,
        "Key": _key(name),
        "UpdateExpression": "ADD #n :by",
        "ExpressionAttributeNames": {"#n": "n"},
        "ExpressionAttributeValues": {":by": {"N": str(by)}},
    }


def _refused(table: str) -> dict[str, Any]:
    return {"TableName": table, "Key": _key("none"), "ConditionExpression": "attribute_exists(PK)"}


def _rows(table: str) -> dict[str, Any]:
    return {row["SK"]: row.get("n") for row in dynamo.scan(clients.dynamodb(), table, "read")}


def test_a_refused_transaction_leaves_all_as_it_was(jobs_table: str) -> None:
    """New items are gone again, changed ones and deleted ones are as before."""
    client: Any = clients.dynamodb()
    for name in ("changed", "deleted"):
        client.update_item(**_count(jobs_table, name))
    before = _rows(jobs_table)
    items = [
        {"Update": _count(jobs_table, "changed")},
        {"Delete": {"TableName": jobs_table, "Key": _key("deleted")}},
        {"Put": {"TableName": jobs_table, "Item": _key("new")}},
        {"ConditionCheck": _refused(jobs_table)},
    ]
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        client.transact_write_items(TransactItems=items)
    assert _rows(jobs_table) == before == {"changed": 1, "deleted": 1}
    client.transact_write_items(TransactItems=items[:3])
    assert _rows(jobs_table) == {"changed": 2, "new": None}


def test_writes_of_many_threads_are_all_there(jobs_table: str) -> None:
    """Transactions beside each other, every third of them refused, take nothing from each other."""
    client: Any = clients.dynamodb()

    def write(number: int) -> bool:
        items = [{"Update": _count(jobs_table, "all")}, {"Update": _count(jobs_table, f"own-{number}")}]
        if number % 3 == 0:
            items.append({"ConditionCheck": _refused(jobs_table)})
        try:
            client.transact_write_items(TransactItems=items)
        except ClientError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(write, range(150)))
    assert written == [number % 3 != 0 for number in range(150)]
    expected = {f"own-{number}": 1 for number in range(150) if number % 3}
    assert _rows(jobs_table) == {"all": 100, **expected}
