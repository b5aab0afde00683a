from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from infra.context import AwsContext
from infra.data.tables import Tables, TablesArgs
from receipt_trainer.contract.tables import ALL_TABLES, JOBS, TableShape
from receipt_trainer.local.pulumi_program import Recording, run
from tests.infra.edits import stack
from tests.infra.replacements import replacements

TABLE = "aws:dynamodb/table:Table"


def recorded(protect_data: bool = True) -> Recording:
    return stack(protect_data=str(protect_data).lower())


def create_arguments(inputs: dict[str, Any]) -> dict[str, Any]:
    """What the provider asks DynamoDB to create."""
    arguments: dict[str, Any] = {
        "TableName": inputs["name"],
        "BillingMode": inputs["billingMode"],
        "AttributeDefinitions": [
            {"AttributeName": a["name"], "AttributeType": a["type"]} for a in inputs["attributes"]
        ],
        "KeySchema": key_schema(inputs),
    }
    if indexes := inputs.get("globalSecondaryIndexes"):
        arguments["GlobalSecondaryIndexes"] = [
            {
                "IndexName": index["name"],
                "KeySchema": key_schema(index),
                "Projection": projection(index),
            }
            for index in indexes
        ]
    return arguments


def projection(index: dict[str, Any]) -> dict[str, Any]:
    included = index.get("nonKeyAttributes")
    return {"ProjectionType": index["projectionType"]} | ({"NonKeyAttributes": included} if included else {})


def key_schema(inputs: dict[str, Any]) -> list[dict[str, str]]:
    keys = (("hashKey", "HASH"), ("rangeKey", "RANGE"))
    return [{"AttributeName": inputs[key], "KeyType": kind} for key, kind in keys if key in inputs]


@pytest.mark.parametrize("shape", ALL_TABLES, ids=lambda shape: shape.name)
def test_a_table_is_what_the_contract_says(shape: TableShape) -> None:
    """Keys, indexes and billing are those with which local mode and the tests create the table."""
    table = recorded().one(f"tables-{shape.name}", TABLE)
    assert create_arguments(table.inputs) == shape.create_arguments(f"receipt-trainer-dev-{shape.name}")


def test_every_table_of_the_contract_is_there_and_under_its_own_attribute() -> None:
    """No shape is forgotten, no table added, and `Tables.<shape>` is the table of that shape."""
    assert {table.name for table in recorded().of_type(TABLE)} == {f"tables-{shape.name}" for shape in ALL_TABLES}
    named = {shape.name: recorded().outputs[f"{shape.name}_table"] for shape in ALL_TABLES}
    assert named == {shape.name: f"receipt-trainer-dev-{shape.name}" for shape in ALL_TABLES}


@pytest.mark.parametrize("shape", ALL_TABLES, ids=lambda shape: shape.name)
def test_items_expire_only_where_the_contract_says(shape: TableShape) -> None:
    """TTL is on the attribute of the shape, and off where the shape has none."""
    ttl = recorded().one(f"tables-{shape.name}", TABLE).inputs.get("ttl")
    assert ttl == ({"attributeName": shape.ttl_attribute, "enabled": True} if shape.ttl_attribute else None)


def test_indexes_are_added_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack whose jobs table has the two indexes of version 0.1.0 gets the others without a new table."""
    monkeypatch.setattr("infra.data.tables.JOBS", replace(JOBS, indexes=JOBS.indexes[:2]))
    context = AwsContext("receipt-trainer", "dev", "aws", "us-east-1", "123456789012", ())
    before = run(lambda: Tables("tables", TablesArgs(context, True)) and None)
    monkeypatch.undo()
    after = run(lambda: Tables("tables", TablesArgs(context, True)) and None)
    assert len(before.one("tables-jobs", TABLE).inputs["globalSecondaryIndexes"]) == 2
    assert len(after.one("tables-jobs", TABLE).inputs["globalSecondaryIndexes"]) == 4
    assert replacements(before, after) == {}


@pytest.mark.parametrize("protect_data", [True, False])
def test_protect_data_keeps_tables(protect_data: bool) -> None:
    """Deletion is refused by DynamoDB, and by Pulumi, for every table or for none; restores are possible always."""
    for table in recorded(protect_data).of_type(TABLE):
        assert table.inputs["deletionProtectionEnabled"] is protect_data
        assert (table.protect, table.retain_on_delete) == (protect_data, protect_data)
        assert table.inputs["pointInTimeRecovery"] == {"enabled": True}
