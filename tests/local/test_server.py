"""The embedded AWS against what moto itself does; and the internals of moto that it counts on."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import backends
from moto.autoscaling.models import AutoScalingBackend
from moto.autoscaling.responses import AutoScalingResponse
from moto.core import responses
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.models.table import Table
from moto.server import ThreadedMotoServer

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.contract.tables import RECEIPTS
from receipt_trainer.local.emulator import LocalCloud

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


def _answers(client: Any, table: str) -> list[Any]:
    """What a client gets to see of a table by queries, scans and pages, without what differs between two servers."""
    client.create_table(**RECEIPTS.create_arguments(table))
    items = [
        {
            **{
                "PK": f"IMAGE#{n % 3}",
                "SK": f"RECEIPT#{n:05d}",
                "n": n,
                "map": {"a": [1, "x", None, True, {"b": 0.5}]},
            },
            **({"GSI3PK": "VALID", "GSI3SK": f"key {n * 7 % 40:03d}"} if n % 2 else {}),
            **{"picture": b"\x00\xff", "tags": {"s", "t"}, "text": "é" * 9_000},
        }
        for n in range(40)
    ]
    for item in items:
        client.put_item(TableName=table, Item=dynamo.serialise(item))
    queries: list[dict[str, Any]] = [
        {"KeyConditionExpression": "PK = :a", "ExpressionAttributeValues": {":a": {"S": "IMAGE#1"}}},
        {
            "KeyConditionExpression": "PK = :a AND SK BETWEEN :b AND :c",
            "ExpressionAttributeValues": {
                ":a": {"S": "IMAGE#1"},
                ":b": {"S": "RECEIPT#00004"},
                ":c": {"S": "RECEIPT#2"},
            },
            "ProjectionExpression": "SK, #n, #m.a, picture",
            "ExpressionAttributeNames": {"#n": "n", "#m": "map"},
        },
        {
            "IndexName": "GSI3",
            "KeyConditionExpression": "GSI3PK = :a AND GSI3SK >= :b",
            "ExpressionAttributeValues": {":a": {"S": "VALID"}, ":b": {"S": "key 011"}},
            "ProjectionExpression": "PK, SK, tags, picture",
            "Limit": 4,
            "ScanIndexForward": False,
        },
        {"KeyConditionExpression": "PK = :a", "ExpressionAttributeValues": {":a": {"S": "nothing"}}},
    ]
    found = [list(client.get_paginator("query").paginate(TableName=table, **query)) for query in queries]
    found.append(list(client.get_paginator("scan").paginate(TableName=table, Segment=1, TotalSegments=2)))
    for page in [page for pages in found for page in pages]:
        del page["ResponseMetadata"]
        for item in page["Items"]:
            item.get("tags", {}).get("SS", []).sort()
    return found


def test_our_faster_moto_answers_as_motos_own(aws: LocalCloud) -> None:
    """Queries, index queries, projections, pages and scans give, page by page, what plain moto gives."""
    plain = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    plain.start()
    try:
        host, port = plain.get_host_and_port()
        slow = boto3.session.Session().client("dynamodb", endpoint_url=f"http://{host}:{port}")
        fast = clients.dynamodb()
        assert _answers(fast, "speed-test") == _answers(slow, "speed-test")
    finally:
        plain.stop()
        clients.dynamodb().delete_table(TableName="speed-test")


PATCHED = {
    (Table, "query"): (
        *("self", "hash_key", "range_comparison", "range_objs", "limit", "exclusive_start_key", "scan_index_forward"),
        *("projection_expressions", "index_name", "consistent_read", "filter_expression"),
        *("hash_key_conditions", "range_key_conditions", "filter_kwargs"),
    ),
    (Table, "all_items"): ("self",),
    (Table, "get_item"): ("self", "hash_key", "range_key", "projection_expression"),
    (Item, "project"): ("self", "projection_expressions"),
    (BaseJSONSerializer, "_serialize_type_structure"): ("self", "serialized", "value", "shape", "key"),
    (DynamoDBBackend, "transact_write_items"): ("self", "transact_items"),
    (DynamoDBBackend, "get_keys_value"): ("self", "table", "keys"),
    (AutoScalingBackend, "terminate_instance"): ("self", "instance_id", "should_decrement"),
    (responses, "method_names_from_class"): ("clazz",),
    (backends, "list_of_moto_modules"): (),
}
"""What `receipt_trainer.local.server` replaces or calls, with the parameters that it counts on."""


@pytest.mark.parametrize(("owner", "name"), PATCHED, ids=lambda value: getattr(value, "__name__", value))
def test_what_is_patched_is_as_the_patch_expects(owner: Any, name: str) -> None:
    """A version of moto that has renamed or changed one of these needs another patch."""
    method = getattr(owner, name, None)
    assert method is not None, f"moto has no {owner.__name__}.{name} any more: see local/server.py"
    assert tuple(inspect.signature(method).parameters) == PATCHED[owner, name], f"moto changed {owner.__name__}.{name}"


def test_what_moto_lacks_is_still_lacking() -> None:
    """A version of moto that can do it needs no patch for it."""
    assert not hasattr(AutoScalingResponse, "complete_lifecycle_action")
    assert not hasattr(Table, "__deepcopy__")
