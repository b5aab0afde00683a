"""`network.nat: public`: instances with addresses that nobody can call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.local.pulumi_program import Recording
from tests.infra.edits import evaluate, evaluate_anew
from tests.infra.networks import INGRESS, NATS, ROUTE, Nat, id_of, network, peer, subnets

ACL = "aws:ec2/networkAcl:NetworkAcl"
BLOCK = "aws:ec2/vpcBlockPublicAccessOptions:VpcBlockPublicAccessOptions"
ADDRESSES = ("aws:ec2/eip:Eip", "aws:ec2/natGateway:NatGateway")


@pytest.fixture(scope="module", params=NATS)
def stack(request: pytest.FixtureRequest, wheelhouse: Path) -> tuple[Nat, Recording]:
    """The whole program with an image, for each value of `nat`."""
    changes = {"network": {"nat": request.param}, "golden_ami": {"enabled": True}}
    return request.param, evaluate(wheelhouse, changes)


def test_no_group_of_the_stack_admits_an_address(stack: tuple[Nat, Recording]) -> None:
    """Over everything that is registered: ingress comes from our own groups, NFS and HTTPS, and no group has rules
    of its own or in an older form that would hide one."""
    _, recording = stack
    groups = {id_of(group) for group in recording.of_type("aws:ec2/securityGroup:SecurityGroup")}
    rules = recording.of_type(INGRESS)
    assert rules
    assert {peer(rule) for rule in rules} <= groups
    assert {(rule.inputs["fromPort"], rule.inputs["toPort"]) for rule in rules} <= {(2049, 2049), (443, 443)}
    called = {rule.inputs["securityGroupId"] for rule in rules}
    assert not called & {"network-groups-worker-id", "network-groups-builder-id"}
    assert not recording.of_type("aws:ec2/securityGroupRule:SecurityGroupRule")
    for group in (r for r in recording.resources if r.type.endswith("SecurityGroup")):
        assert not group.inputs.get("ingress"), group.name


def test_only_workers_and_builders_have_public_addresses(stack: tuple[Nat, Recording]) -> None:
    """With `public` an interface of the workers' templates and the builder's subnet; with `single` the NAT gateway
    alone; with `none` nothing."""
    nat, recording = stack
    interfaces = [
        interface["associatePublicIpAddress"]
        for template in recording.of_type("aws:ec2/launchTemplate:LaunchTemplate")
        for interface in template.inputs["networkInterfaces"]
    ]
    assert interfaces == ["true" if nat == "public" else "false"] * 2
    giving = [s.name for s in recording.of_type("aws:ec2/subnet:Subnet") if s.inputs["mapPublicIpOnLaunch"]]
    assert giving == (["network-public-0"] if nat == "public" else [])
    held = [resource.name for kind in ADDRESSES for resource in recording.of_type(kind)]
    assert held == (["network-nat-ip", "network-nat"] if nat == "single" else [])


def test_workers_and_builders_are_where_they_can_call_out(stack: tuple[Nat, Recording]) -> None:
    """Groups and Image Builder use public subnets with `public`, else private ones; mount targets never move."""
    nat, recording = stack
    kind = "public" if nat == "public" else "private"
    expected = [id_of(subnet) for subnet in subnets(recording, kind)]
    for group in recording.of_type("aws:autoscaling/group:Group"):
        assert group.inputs["vpcZoneIdentifiers"] == expected
    (builder,) = recording.of_type("aws:imagebuilder/infrastructureConfiguration:InfrastructureConfiguration")
    assert builder.inputs["subnetId"] == expected[0]
    mounted = {target.inputs["subnetId"] for target in recording.of_type("aws:efs/mountTarget:MountTarget")}
    assert mounted == {id_of(subnet) for subnet in subnets(recording, "private")}


def test_a_group_is_made_after_the_whole_network_and_goes_before_it(stack: tuple[Nat, Recording]) -> None:
    """A group with a minimum launches at once: every route, rule and endpoint of the network is there before.

    A child is registered when its component is, and a component when what it depends on is there; the engine deletes in
    the opposite order.
    """
    _, recording = stack
    needed = ("Route", "VpcEndpoint", "SecurityGroupIngressRule", "SecurityGroupEgressRule", "NatGateway", "NetworkAcl")
    parts = {r.urn for r in recording.resources if r.name.startswith("network-") and r.type.endswith(needed)}
    assert len(parts) >= 6
    for group in recording.of_type("aws:autoscaling/group:Group"):
        (pool,) = [r for r in recording.resources if r.urn == group.parent]
        assert parts <= set(pool.dependencies)


def test_public_subnets_lead_to_the_internet_gateway_without_a_nat() -> None:
    """One default route in the public table; private subnets, where the mount targets are, have no way out."""
    (route,) = network("public").of_type(ROUTE)
    assert (route.inputs["routeTableId"], route.inputs["gatewayId"]) == (
        "network-public-table-id",
        "network-internet-id",
    )
    assert route.inputs["destinationCidrBlock"] == "0.0.0.0/0"


@pytest.mark.parametrize(
    ("way", "protocol", "port", "address", "passes"),
    [
        ("ingress", "tcp", 22, "203.0.113.9", False),
        ("ingress", "tcp", 443, "203.0.113.9", False),
        ("ingress", "tcp", 1023, "203.0.113.9", False),
        ("ingress", "udp", 40000, "203.0.113.9", False),
        ("ingress", "tcp", 1024, "203.0.113.9", True),
        ("ingress", "tcp", 65535, "203.0.113.9", True),
        ("ingress", "tcp", 2049, "10.42.0.7", True),
        ("egress", "tcp", 443, "203.0.113.9", True),
        ("egress", "tcp", 80, "203.0.113.9", False),
        ("egress", "tcp", 25, "203.0.113.9", False),
        ("egress", "tcp", 2049, "10.42.0.7", True),
        ("egress", "udp", 53, "10.42.0.2", True),
    ],
)
def test_the_acl_of_the_public_subnets_lets_answers_in_and_https_out(
    way: str, protocol: str, port: int, address: str, passes: bool
) -> None:
    """From outside only answers to what was asked over HTTPS; inside the VPC everything, as the groups decide."""
    acl = network("public").one("network-public-acl", ACL).inputs
    assert any(matches(rule, protocol, port, address) for rule in acl[way]) is passes


def matches(rule: dict[str, Any], protocol: str, port: int, address: str) -> bool:
    assert rule["action"] == "allow"
    assert rule["cidrBlock"] in ("0.0.0.0/0", "10.42.0.0/16")
    inside = rule["cidrBlock"] == "0.0.0.0/0" or address.startswith("10.42.")
    ports = rule["protocol"] == "-1" or (rule["protocol"] == protocol and rule["fromPort"] <= port <= rule["toPort"])
    return inside and ports


def test_the_acl_covers_every_public_subnet_and_hears_of_narrow_paths() -> None:
    """All public subnets of all zones, none of the private ones; of ICMP "fragmentation needed" alone comes in."""
    recording = network("public", az_count=3)
    acl = recording.one("network-public-acl", ACL).inputs
    assert acl["subnetIds"] == [id_of(subnet) for subnet in subnets(recording, "public")]
    (icmp,) = [rule for rule in acl["ingress"] if rule["protocol"] == "icmp"]
    assert (icmp["icmpType"], icmp["icmpCode"]) == (3, 4)
    assert not [rule for rule in acl["egress"] if rule["protocol"] == "icmp"]


@pytest.mark.parametrize("nat", ["none", "single"])
def test_without_instances_in_them_public_subnets_need_no_acl(nat: Nat) -> None:
    """They hold a NAT gateway or nothing; Block Public Access is not asked for either."""
    recording = network(nat)
    assert not recording.of_type(ACL)
    assert not recording.of_type(BLOCK)


@pytest.mark.parametrize(
    ("mode", "instead"), [("block-ingress", "single or none"), ("block-bidirectional", "to none, or have")]
)
def test_block_public_access_is_told_at_preview(wheelhouse: Path, mode: str, instead: str) -> None:
    """An account that lets nothing through internet gateways is told in one line which values of `nat` work there."""
    read: list[dict[str, Any]] = []

    def options(arguments: dict[str, Any]) -> dict[str, Any]:
        read.append(arguments)
        return {"internetGatewayBlockMode": mode}

    recording = evaluate_anew(wheelhouse, answers={BLOCK: options})
    (line,) = [message for message in recording.messages if "Block Public Access" in message]
    assert line.startswith(f"receipt-trainer:network.nat: public, but VPC Block Public Access of us-east-1 is {mode}")
    assert instead in line
    assert [arguments["id"] for arguments in read] == ["us-east-1"]


def test_an_account_that_never_set_block_public_access_hears_nothing(wheelhouse: Path) -> None:
    """The options exist in every account, with the mode off (DescribeVpcBlockPublicAccessOptions)."""
    assert not [message for message in evaluate(wheelhouse).messages if "Block Public Access" in message]
