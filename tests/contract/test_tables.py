"""Table shapes and keys: what a table's readers and writers agree on."""

from __future__ import annotations

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.aws import clients
from receipt_trainer.contract import tables
from receipt_trainer.contract.tables import ALL_TABLES, Index, TableShape, numbered
from receipt_trainer.local.emulator import LocalCloud

numbers = st.integers(0, 99_999)


def test_shapes() -> None:
    """Three tables: receipts and jobs with GSI1..GSI4, jobs and instances with a TTL."""
    shapes = {shape.name: ([index.name for index in shape.indexes], shape.ttl_attribute) for shape in ALL_TABLES}
    four = ["GSI1", "GSI2", "GSI3", "GSI4"]
    assert shapes == {"receipts": (four, None), "jobs": (four, "expires_at"), "instances": ([], "expires_at")}


def test_create_arguments_name_every_key_once() -> None:
    """CreateTable gets each key attribute once as a string, and a projection for each index: all, unless it says."""
    narrow = (Index("A", "status", "at", ("name",)), Index("B", "status", "id"))
    arguments = TableShape("any", (*numbered(2), *narrow)).create_arguments("x-any")
    assert arguments["TableName"] == "x-any"
    assert arguments["BillingMode"] == "PAY_PER_REQUEST"
    names = [item["AttributeName"] for item in arguments["AttributeDefinitions"]]
    assert names == ["PK", "SK", "GSI1PK", "GSI1SK", "GSI2PK", "GSI2SK", "status", "at", "id"]
    assert {item["AttributeType"] for item in arguments["AttributeDefinitions"]} == {"S"}
    *first, by_time, _ = arguments["GlobalSecondaryIndexes"]
    assert by_time["Projection"] == {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["name"]}
    for index, name in zip(first, ("GSI1", "GSI2"), strict=True):
        assert index["IndexName"] == name
        assert [key["AttributeName"] for key in index["KeySchema"]] == [f"{name}PK", f"{name}SK"]
        assert index["Projection"] == {"ProjectionType": "ALL"}
    assert "GlobalSecondaryIndexes" not in TableShape("none").create_arguments("none")


def test_dynamodb_accepts_every_shape(aws: LocalCloud) -> None:
    """Each shape makes an active table with its indexes, over HTTP."""
    client = clients.dynamodb()
    for shape in ALL_TABLES:
        name = f"shape-{shape.name}-{uuid4().hex[:8]}"
        client.create_table(**shape.create_arguments(name))
        table = client.describe_table(TableName=name)["Table"]
        made = sorted(index["IndexName"] for index in table.get("GlobalSecondaryIndexes", []))
        assert made == [index.name for index in shape.indexes]
        client.delete_table(TableName=name)


def test_keys_are_written_as_documented() -> None:
    """The keys are those of tables that people have already."""
    assert tables.image_pk("7e1c") == "IMAGE#7e1c"
    assert tables.receipt_sk(1) == "RECEIPT#00001"
    assert tables.line_sk(1, 2) == "RECEIPT#00001#LINE#00002"
    assert tables.word_sk(1, 2, 3) == "RECEIPT#00001#LINE#00002#WORD#00003"
    assert tables.label_sk(1, 2, 3, "DATE") == "RECEIPT#00001#LINE#00002#WORD#00003#LABEL#DATE"
    assert tables.validation_status_pk("VALID") == "VALIDATION_STATUS#VALID"
    assert (tables.job_pk("x"), tables.JOB_SK) == ("JOB#x", "JOB")
    assert (tables.instance_pk("i-1"), tables.INSTANCE_SK) == ("INSTANCE#i-1", "INSTANCE")
    assert tables.job_status_pk("PENDING") == "STATUS#PENDING"
    assert tables.job_name_pk("a") == "NAME#a"
    assert tables.job_order("2026-11-20T00:00:00Z", "x") == "2026-11-20T00:00:00Z#x"
    assert tables.status_sk("2026-11-20T00:00:00Z", 7) == "STATUS#2026-11-20T00:00:00Z#00000007"
    assert (tables.attempt_sk(7), tables.checkpoint_sk(7)) == ("ATTEMPT#000007", "CHECKPOINT#0000000007")
    assert tables.log_sk("2026-11-20T00:00:00Z", 7) == "LOG#2026-11-20T00:00:00Z#00000007"
    assert tables.metric_sk("eval_f1", "2026-11-20T00:00:00Z", 7) == "METRIC#eval_f1#2026-11-20T00:00:00Z#00000007"


@given(st.lists(st.tuples(numbers, numbers, numbers), unique=True, max_size=20))
def test_words_sort_by_their_numbers(places: list[tuple[int, int, int]]) -> None:
    """DynamoDB's order of sort keys, by UTF-8 bytes, is the order of receipt, line and word numbers."""
    assert sorted(places, key=lambda place: tables.word_sk(*place).encode()) == sorted(places)


@given(numbers, numbers, numbers, numbers)
def test_a_receipt_is_a_prefix_of_its_own_only(receipt: int, other: int, line: int, word: int) -> None:
    """Words and labels begin with their receipt's key and with no other receipt's."""
    label = tables.label_sk(receipt, line, word, "DATE")
    assert label.startswith(tables.word_sk(receipt, line, word))
    assert label.startswith(tables.receipt_sk(other)) == (receipt == other)


@given(st.integers(0, 10**8 - 1), st.integers(0, 10**8 - 1))
def test_rows_of_one_instant_stay_apart_and_in_order(one: int, other: int) -> None:
    """Two rows of one instant have two keys, in the order in which they were written."""
    assert (tables.log_sk("now", one) < tables.log_sk("now", other)) == (one < other)
    assert (tables.metric_sk("loss", "now", one) < tables.metric_sk("loss", "now", other)) == (one < other)
