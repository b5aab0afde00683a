"""The DynamoDB tables, from the contract's shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component, named
from receipt_trainer.contract.tables import INSTANCES, JOBS, RECEIPTS, TableShape


@dataclass(frozen=True)
class TablesArgs:
    """With `protect_data`, DynamoDB and Pulumi refuse to delete a table."""

    context: AwsContext
    protect_data: bool


class Tables(Component[TablesArgs]):
    """Receipts, jobs (metrics and logs go by TTL) and instances (an item each, gone by TTL): billed by request,
    restorable to any second of the last 35 days."""

    def __init__(self, name: str, args: TablesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        self.receipts = self._table(RECEIPTS)
        self.jobs = self._table(JOBS)
        self.instances = self._table(INSTANCES)
        self.register_outputs(
            {"receipts": self.receipts.name, "jobs": self.jobs.name, "instances": self.instances.name}
        )

    def _table(self, shape: TableShape) -> aws.dynamodb.Table:
        arguments = shape.create_arguments(self._args.context.name(shape.name))
        keys, protect = _keys(arguments["KeySchema"]), self._args.protect_data
        # Encrypted with the key that DynamoDB owns: always on, free, and no KMS request on each read. A key of the
        # account's own would add $1 a month and a key policy that repeats what the roles say.
        return aws.dynamodb.Table(
            f"{self._name}-{shape.name}",
            name=arguments["TableName"],
            billing_mode=arguments["BillingMode"],
            attributes=[
                {"name": attribute["AttributeName"], "type": attribute["AttributeType"]}
                for attribute in arguments["AttributeDefinitions"]
            ],
            hash_key=keys["HASH"],
            range_key=keys["RANGE"],
            global_secondary_indexes=[_index(index) for index in arguments.get("GlobalSecondaryIndexes", [])],
            point_in_time_recovery={"enabled": True},
            ttl={"attribute_name": shape.ttl_attribute, "enabled": True} if shape.ttl_attribute else None,
            deletion_protection_enabled=protect,
            tags=self._args.context.tags_for(shape.name),
            opts=named(self, protect=protect, retain_on_delete=protect),
        )


def _keys(schema: list[dict[str, str]]) -> dict[str, str]:
    return {key["KeyType"]: key["AttributeName"] for key in schema}


def _index(index: dict[str, Any]) -> aws.dynamodb.TableGlobalSecondaryIndexArgsDict:
    # Not key_schemas, which is to replace hash_key and range_key: with it the provider has planned to rebuild indexes
    # that did not change (hashicorp/terraform-provider-aws #46513, #46602).
    keys, projection = _keys(index["KeySchema"]), index["Projection"]
    made: aws.dynamodb.TableGlobalSecondaryIndexArgsDict = {
        "name": index["IndexName"],
        "projection_type": projection["ProjectionType"],
        "hash_key": keys["HASH"],
        "range_key": keys["RANGE"],
    }
    if included := projection.get("NonKeyAttributes"):
        made["non_key_attributes"] = included
    return made
