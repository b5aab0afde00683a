"""Items as Python values, pages, batches."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.contract import tables
from receipt_trainer.errors import WorldError
from tests.fault_proxy import Answer, FaultProxy


def unprocessed(times: int, keep: int = 0) -> Any:
    """A rule: the first `times` batch writes take only `keep` items of what is sent, and write none of them."""

    def rule(name: str, count: int, body: dict[str, Any]) -> Answer | None:
        if name != "BatchWriteItem" or count > times:
            return None
        return 200, {"UnprocessedItems": {table: requests[keep:] for table, requests in body["RequestItems"].items()}}

    return rule


@given(st.floats() | st.integers(-(2**53) + 1, 2**53 - 1))
def test_every_number_comes_back(value: float) -> None:
    """Any float and any usual int survives DynamoDB exactly, NaN, infinities and the tiniest included."""
    back = tables.to_float(dynamo.deserialise(dynamo.serialise({"n": value}))["n"])
    assert back is not None
    assert back == value or (math.isnan(back) and math.isnan(value))


def test_values_come_back_typed() -> None:
    """Nested maps, lists, booleans, None and whole numbers keep their types."""
    item = {"a": [1, 0.25, "x", None, True], "b": {"c": {"d": 1e-7}}, "e": ""}
    back = dynamo.deserialise(dynamo.serialise(item))
    assert back == item
    assert [type(value) for value in back["a"]] == [int, float, str, type(None), bool]


def test_pages_are_followed(receipts_table: str) -> None:
    """A query of more than a megabyte gives all its items, through as many pages as it takes."""
    items = [{"PK": "p", "SK": f"{n:03d}", "text": "x" * 50_000} for n in range(50)]
    client = clients.dynamodb()
    dynamo.batch_write(client, receipts_table, "fill", puts=items)
    pages = []
    client.meta.events.register("before-send.dynamodb", lambda **_: pages.append(1))
    found = dynamo.query(
        client, receipts_table, "read", KeyConditionExpression="PK = :p", ExpressionAttributeValues={":p": "p"}
    )
    assert [item["SK"] for item in found] == [item["SK"] for item in items]
    assert len(pages) > 2


def test_unprocessed_items_are_sent_again(receipts_table: str, fault_proxy: FaultProxy) -> None:
    """What a batch leaves unprocessed is sent again, with growing waits, until all is written."""
    fault_proxy.rule = unprocessed(3)
    waits: list[float] = []
    items = [{"PK": "p", "SK": str(n)} for n in range(30)]
    dynamo.batch_write(clients.dynamodb(), receipts_table, "fill", puts=items, sleep=waits.append)
    assert len(list(dynamo.scan(clients.dynamodb(), receipts_table, "read"))) == 30
    assert len(waits) == 3
    assert fault_proxy.calls["BatchWriteItem"] == 3 + 2


def test_unprocessed_items_are_given_up_at_the_bound(receipts_table: str, fault_proxy: FaultProxy) -> None:
    """A table that never takes an item ends in one clear fault of the world after the bound of rounds."""
    fault_proxy.rule = unprocessed(1000)
    with pytest.raises(WorldError, match=r"left items unprocessed 8 times"):
        dynamo.batch_write(
            clients.dynamodb(), receipts_table, "fill", puts=[{"PK": "p", "SK": "s"}], sleep=lambda seconds: None
        )
    assert fault_proxy.calls["BatchWriteItem"] == dynamo.MAX_ROUNDS


def test_batch_get_finds_those_that_exist(receipts_table: str) -> None:
    """Of more keys than one request holds, those that exist come back with the attributes asked for."""
    client = clients.dynamodb()
    dynamo.batch_write(
        client, receipts_table, "fill", puts=[{"PK": "p", "SK": str(n), "a": n, "b": 1} for n in range(120)]
    )
    keys = [{"PK": "p", "SK": str(n)} for n in range(0, 240, 2)]
    found = dynamo.batch_get(client, receipts_table, "read", keys, ("SK", "a"))
    assert sorted(item["a"] for item in found) == list(range(0, 120, 2))
    assert all(set(item) == {"SK", "a"} for item in found)
