"""Public subnets with instances in them: the network ACL, and whether the account forbids such subnets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.naming import Naming

_ANYWHERE: Final = "0.0.0.0/0"


@dataclass(frozen=True)
class PublicAccessArgs:
    """What stands between public subnets and the internet.

    Attributes:
        naming: names and tags.
        region: AWS region, of whose VPC Block Public Access the preview warns.
        cidr: IPv4 block of the VPC.
        vpc_id: the VPC.
        subnet_ids: the public subnets.
    """

    naming: Naming
    region: str
    cidr: str
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]


class PublicAccess(pulumi.ComponentResource):
    """Lets instances with public addresses call out by HTTPS, and nobody call them.

    The security groups say so, too; the network ACL is there for the day on which somebody edits one of them.
    """

    def __init__(self, name: str, args: PublicAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:PublicAccess", name, {}, opts)
        self._name, self._args = name, args
        self._warn_of_a_block()
        self._acl()
        self.register_outputs({})

    def _acl(self) -> None:
        """The VPC's own traffic; out HTTPS; in the answers to it (Amazon VPC User Guide, Network ACLs).

        An ACL knows no connections: answers come to a port above 1023, which a service that listens there would
        share. Without ICMP type 3 code 4, "fragmentation needed", a large answer through a narrow path never arrives.
        """
        aws.ec2.NetworkAcl(
            f"{self._name}-acl",
            vpc_id=self._args.vpc_id,
            subnet_ids=self._args.subnet_ids,
            ingress=[
                _in(100, "-1", 0, 0, self._args.cidr),
                _in(110, "tcp", 1024, 65535, _ANYWHERE),
                aws.ec2.NetworkAclIngressArgs(
                    rule_no=120,
                    action="allow",
                    protocol="icmp",
                    from_port=0,
                    to_port=0,
                    icmp_type=3,
                    icmp_code=4,
                    cidr_block=_ANYWHERE,
                ),
            ],
            egress=[
                _out(100, "-1", 0, 0, self._args.cidr),
                _out(110, "tcp", 443, 443, _ANYWHERE),
            ],
            tags=self._args.naming.tags_for("public"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _warn_of_a_block(self) -> None:
        """VPC Block Public Access of the region; its mode is "off" where nobody ever set it.

        No refusal: an account may have excluded this very VPC, which no function of the provider tells.
        """
        region, own = self._args.region, pulumi.ResourceOptions(parent=self)
        found = aws.ec2.VpcBlockPublicAccessOptions.get(f"{self._name}-block", id=region, region=region, opts=own)
        found.internet_gateway_block_mode.apply(lambda mode: _warn(mode, region))


def _in(number: int, protocol: str, first: int, last: int, cidr: str) -> aws.ec2.NetworkAclIngressArgs:
    """Allow what comes in; protocol "-1" is every one, on every port."""
    return aws.ec2.NetworkAclIngressArgs(
        rule_no=number, action="allow", protocol=protocol, from_port=first, to_port=last, cidr_block=cidr
    )


def _out(number: int, protocol: str, first: int, last: int, cidr: str) -> aws.ec2.NetworkAclEgressArgs:
    return aws.ec2.NetworkAclEgressArgs(
        rule_no=number, action="allow", protocol=protocol, from_port=first, to_port=last, cidr_block=cidr
    )


def _warn(mode: str | None, region: str) -> None:
    """A line if the mode (Amazon VPC User Guide, Block public access to VPCs and subnets) stops public subnets."""
    if mode in (None, "", "off"):
        return
    pulumi.warn(
        f"receipt-trainer:network.nat: public, but VPC Block Public Access of {region} is {mode}: workers will reach "
        "nothing and their boots fail; set network.nat to "
        f"{'none' if mode == 'block-bidirectional' else 'single or none'}, or have the VPC excluded: "
        "aws ec2 create-vpc-block-public-access-exclusion --internet-gateway-exclusion-mode allow-bidirectional "
        "--vpc-id $(pulumi stack output vpc_id)"
    )
