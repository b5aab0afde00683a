"""Rules for connections: security groups, and the network ACL of public subnets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component

ANYWHERE: Final = "0.0.0.0/0"
_HTTPS, _NFS = 443, 2049
_GROUPS: Final = {
    "worker": "Workers: call AWS and EFS, are called by nobody",
    "builder": "Image builders: call AWS, are called by nobody",
    "file-system": "EFS mount targets: NFS from workers",
}


@dataclass(frozen=True)
class SecurityGroupsArgs:
    """Arguments of the groups of one VPC.

    Attributes:
        endpoint_group_id: group of the interface endpoints; None = AWS is called over the internet.
        prefix_list_ids: service -> prefix list of its gateway endpoint.
    """

    context: AwsContext
    vpc_id: pulumi.Input[str]
    endpoint_group_id: pulumi.Input[str] | None
    prefix_list_ids: Mapping[str, pulumi.Input[str]]


class SecurityGroups(Component[SecurityGroupsArgs]):
    """Groups of workers, builders and mount targets; none admits anything from outside the VPC.

    The Amazon DNS resolver, the time service and instance metadata need no rule: groups do not filter them.

    Attributes:
        worker_id: may call AWS by HTTPS and mount EFS; accepts no connections.
        builder_id: may call AWS by HTTPS; accepts no connections.
        file_system_id: NFS from workers; opens no connections.
    """

    def __init__(self, name: str, args: SecurityGroupsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        made = [
            aws.ec2.SecurityGroup(
                f"{name}-{role}",
                vpc_id=args.vpc_id,
                description=description,
                tags=args.context.tags_for(role),
                opts=self._child,
            ).id
            for role, description in _GROUPS.items()
        ]
        self.worker_id, self.builder_id, self.file_system_id = made
        self._connect("worker-to-file-system", self.worker_id, self.file_system_id, _NFS)
        for caller, group in (("worker", self.worker_id), ("builder", self.builder_id)):
            # To anywhere where the internet can be reached, else to the endpoints alone.
            if args.endpoint_group_id is None:
                self._rule(f"{caller}-to-anywhere", group, _HTTPS, cidr_ipv4=ANYWHERE)
                continue
            self._connect(f"{caller}-to-endpoints", group, args.endpoint_group_id, _HTTPS)
            for service, prefix_list in args.prefix_list_ids.items():
                self._rule(f"{caller}-to-{service}", group, _HTTPS, prefix_list_id=prefix_list)
        self.register_outputs(
            {"workerId": self.worker_id, "builderId": self.builder_id, "fileSystemId": self.file_system_id}
        )

    def _connect(self, label: str, caller: pulumi.Input[str], callee: pulumi.Input[str], port: int) -> None:
        """Let `caller` out to `callee` and `callee` in from `caller`, on one TCP port."""
        self._rule(label, caller, port, referenced_security_group_id=callee)
        self._rule(label, callee, port, inward=True, referenced_security_group_id=caller)

    def _rule(
        self, label: str, group: pulumi.Input[str], port: int, inward: bool = False, **other: pulumi.Input[str]
    ) -> None:
        made = aws.vpc.SecurityGroupIngressRule if inward else aws.vpc.SecurityGroupEgressRule
        made(
            f"{self._name}-{label}" + ("-in" if inward else ""),
            security_group_id=group,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=label,
            tags=self._args.context.tags_for(label),
            opts=self._child,
            **other,
        )


@dataclass(frozen=True)
class PublicAccessArgs:
    """Guards between public subnets and the internet; `cidr` is the VPC's."""

    context: AwsContext
    cidr: str
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]


class PublicAccess(Component[PublicAccessArgs]):
    """Lets instances with public addresses call out by HTTPS, and refuses all calls to them.

    The security groups say so, too; the network ACL is there for the day on which somebody edits one of them. It knows
    no connections: answers come to a port above 1023, which a service that listens there would share. Without ICMP
    type 3 code 4, "fragmentation needed", a large answer through a narrow path never arrives (Amazon VPC User Guide,
    Network ACLs).
    """

    def __init__(self, name: str, args: PublicAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        region = args.context.region
        # VPC Block Public Access of the region; its mode is "off" where it was never set. No refusal: an account may
        # have excluded this very VPC, which no function of the provider tells.
        found = aws.ec2.VpcBlockPublicAccessOptions.get(f"{name}-block", id=region, region=region, opts=self._child)
        found.internet_gateway_block_mode.apply(lambda mode: _warn(mode, region))
        shared: Any = {"action": "allow", "protocol": "tcp", "rule_no": 110, "cidr_block": ANYWHERE}
        every = {"protocol": "-1", "from_port": 0, "to_port": 0}
        own: Any = {**shared, **every, "rule_no": 100, "cidr_block": args.cidr}
        answers: Any = {**shared, "from_port": 1024, "to_port": 65535}
        too_large: Any = {**shared, **every, "protocol": "icmp", "icmp_type": 3, "icmp_code": 4, "rule_no": 120}
        https: Any = {**shared, "from_port": _HTTPS, "to_port": _HTTPS}
        aws.ec2.NetworkAcl(
            f"{name}-acl",
            vpc_id=args.vpc_id,
            subnet_ids=args.subnet_ids,
            ingress=[own, answers, too_large],
            egress=[own, https],
            tags=args.context.tags_for("public"),
            opts=self._child,
        )
        self.register_outputs({})


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
