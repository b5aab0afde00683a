from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest

from infra.network.endpoints import INTERFACE_SERVICES
from receipt_trainer.local.pulumi_program import Recording
from tests.infra.networks import ENDPOINT, INGRESS, NATS, Nat, network, peer


def policy(recording: Recording, service: str) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = json.loads(
        recording.one(f"network-endpoints-{service}", ENDPOINT).inputs["policy"]
    )["Statement"]
    return statements


@pytest.mark.parametrize("nat", NATS)
def test_s3_and_dynamodb_are_reached_through_gateways_from_every_subnet_with_instances(nat: Nat) -> None:
    """Both gateway endpoints are in the route table of each private subnet, with `public` in the public one too."""
    recording = network(nat, az_count=3)
    kinds = ("private", "public") if nat == "public" else ("private",)
    tables = {
        pair.inputs["routeTableId"]
        for pair in recording.of_type("aws:ec2/routeTableAssociation:RouteTableAssociation")
        if any(kind in pair.inputs["subnetId"] for kind in kinds)
    }
    for service in ("s3", "dynamodb"):
        endpoint = recording.one(f"network-endpoints-{service}", ENDPOINT).inputs
        assert (endpoint["vpcEndpointType"], endpoint["serviceName"]) == (
            "Gateway",
            f"com.amazonaws.us-east-1.{service}",
        )
        assert set(endpoint["routeTableIds"]) == tables
        assert len(tables) == 3 + (nat == "public")


def test_without_nat_every_service_that_an_instance_calls_has_an_endpoint() -> None:
    """`nat: none` has an interface endpoint with private DNS for each service, open to workers and builders."""
    recording = network("none", az_count=3)
    interfaces = [e.inputs for e in recording.of_type(ENDPOINT) if e.inputs["vpcEndpointType"] == "Interface"]
    needed = ["ssm", "ssmmessages", "ec2messages", "sqs", "logs", "monitoring", "autoscaling", "ec2"]
    needed += ["imagebuilder"]
    assert {e["serviceName"] for e in interfaces} == {f"com.amazonaws.us-east-1.{name}" for name in needed}
    assert set(INTERFACE_SERVICES) == set(needed)
    for endpoint in interfaces:
        assert endpoint["privateDnsEnabled"] is True
        assert endpoint["subnetIds"] == ["network-private-0-id"]
        assert endpoint["securityGroupIds"] == ["network-endpoints-group-id"]
    callers = {
        peer(rule)
        for rule in recording.of_type(INGRESS)
        if rule.inputs["securityGroupId"] == "network-endpoints-group-id" and rule.inputs["fromPort"] == 443
    }
    assert callers == {"network-groups-worker-id", "network-groups-builder-id"}


@pytest.mark.parametrize("nat", ["single", "public"])
def test_with_internet_no_endpoint_is_paid_for(nat: Nat) -> None:
    """`nat: single` and `public` have the two free gateway endpoints alone."""
    assert {e.inputs["vpcEndpointType"] for e in network(nat).of_type(ENDPOINT)} == {"Gateway"}
    assert len(network(nat).of_type(ENDPOINT)) == 2


@pytest.mark.parametrize(
    "object_arn",
    [
        "arn:aws:s3:::al2023-repos-us-east-1-de612dc2/core/mirrors/latest/x86_64/mirror.list",
        "arn:aws:s3:::ec2imagebuilder-toe-us-east-1-prod/latest/linux/amd64/awstoe",
        "arn:aws:s3:::ec2imagebuilder-managed-resources-us-east-1-prod/components/update-linux/1.0.2/component.yaml",
        "arn:aws:s3:::amazon-ssm-us-east-1/latest/linux_amd64/amazon-ssm-agent.rpm",
        "arn:aws:s3:::aws-ssm-document-attachments-us-east-1/x",
        "arn:aws:s3:::patch-baseline-snapshot-us-east-1/x",
    ],
)
def test_the_s3_endpoint_lets_instances_read_what_aws_publishes(object_arn: str) -> None:
    """Package repositories, SSM agent and Image Builder are read without a signature: no condition on them."""
    allowed = [s for s in policy(network("none"), "s3") if "Condition" not in s and "s3:GetObject" in s["Action"]]
    assert any(fnmatchcase(object_arn, pattern) for s in allowed for pattern in s["Resource"])


OWN = {"StringEquals": {"aws:ResourceAccount": "123456789012"}}


def test_without_internet_the_s3_endpoint_leads_to_no_bucket_of_another_account() -> None:
    """Without the account condition one may read AWS's public buckets only: neither write, nor read anybody else's."""
    for statement in policy(network("none"), "s3"):
        if statement.get("Condition") == OWN:
            continue
        assert statement["Action"] == ["s3:GetObject"]
        for foreign in ("someone-elses", "al2023-repos", "us-east-1", "amazon-ssm-us-east-1x"):
            arn = f"arn:aws:s3:::{foreign}/object"
            assert not any(fnmatchcase(arn, pattern) for pattern in statement["Resource"]), arn


@pytest.mark.parametrize("nat", ["single", "public"])
def test_with_internet_the_s3_endpoint_reads_any_bucket_and_writes_only_those_of_the_account(nat: Nat) -> None:
    """A public data set of the region can be read, though its traffic goes through the endpoint; nothing is written
    to a bucket of another account this way."""
    statements = policy(network(nat), "s3")
    foreign = [statement for statement in statements if statement.get("Condition") != OWN]
    actions = {action for statement in foreign for action in statement["Action"]}
    assert {"s3:GetObject", "s3:ListBucket"} <= actions
    assert all(action.startswith(("s3:Get", "s3:List")) for action in actions)
    assert [statement["Resource"] for statement in foreign] == ["arn:aws:s3:::*"]


def test_the_dynamodb_endpoint_leads_to_tables_of_this_account_alone() -> None:
    """Every resource of its policy is a table of the account in the region, and no action is a wildcard."""
    (statement,) = policy(network("none"), "dynamodb")
    tables = "arn:aws:dynamodb:us-east-1:123456789012:table/"
    assert all(resource.startswith(tables) for resource in statement["Resource"])
    assert not any("*" in action for action in statement["Action"])
