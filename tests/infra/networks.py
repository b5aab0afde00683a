"""Networks as the tests ask for them, recorded once each."""

from __future__ import annotations

from functools import cache
from typing import Final, Literal

from infra.naming import Naming
from infra.network.vpc import Network, NetworkArgs
from receipt_trainer.local.pulumi_program import Recording, Registration, run

Nat = Literal["none", "single", "public"]
NATS: Final[tuple[Nat, ...]] = ("none", "single", "public")
ZONES = [f"us-east-1{letter}" for letter in "abcdef"]
SUBNET = "aws:ec2/subnet:Subnet"
ROUTE = "aws:ec2/route:Route"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"


@cache
def network(nat: Nat, cidr: str = "10.42.0.0/16", az_count: int = 2, bakes: bool = True) -> Recording:
    args = NetworkArgs(
        naming=Naming("receipt-trainer", "dev"),
        region="us-east-1",
        account_id="123456789012",
        cidr=cidr,
        availability_zones=ZONES[:az_count],
        nat=nat,
        bakes=bakes,
        flow_log_role_arn="arn:aws:iam::123456789012:role/flow",
        flow_log_group_arn="arn:aws:logs:us-east-1:123456789012:log-group:/receipt-trainer/dev/flow",
    )
    return run(lambda: Network("network", args))


def subnets(recording: Recording, kind: str) -> list[Registration]:
    return [subnet for subnet in recording.of_type(SUBNET) if kind in subnet.name]


def id_of(resource: Registration) -> str:
    return f"{resource.name}-id"


def peer(rule: Registration) -> str:
    """The other side of a security group rule."""
    sides = ("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")
    (side,) = (rule.inputs[key] for key in sides if key in rule.inputs)
    return str(side)
