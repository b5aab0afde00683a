"""Networks as the tests ask for them, recorded once each."""

from __future__ import annotations

from typing import Final, Literal

from receipt_trainer.local.pulumi_program import Recording, Registration
from tests.infra.edits import stack

Nat = Literal["none", "single", "public"]
NATS: Final[tuple[Nat, ...]] = ("none", "single", "public")
SUBNET = "aws:ec2/subnet:Subnet"
ROUTE = "aws:ec2/route:Route"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"


def network(nat: Nat, az_count: int = 2, bakes: bool = True) -> Recording:
    """The whole program with this network."""
    return stack(network={"nat": nat, "az_count": az_count}, golden_ami={"enabled": bakes})


def subnets(recording: Recording, kind: str) -> list[Registration]:
    return [subnet for subnet in recording.of_type(SUBNET) if kind in subnet.name]


def id_of(resource: Registration) -> str:
    return f"{resource.name}-id"


def peer(rule: Registration) -> str:
    """The other side of a security group rule."""
    sides = ("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")
    (side,) = (rule.inputs[key] for key in sides if key in rule.inputs)
    return str(side)
