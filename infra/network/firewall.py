"""Rules for connections: security groups, and the network ACL of public subnets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext

_HTTPS, _NFS = 443, 2049


@dataclass(frozen=True)
class SecurityGroupsArgs:
    """Arguments of the groups of one VPC.

    Attributes:
        vpc_id: the VPC.
        endpoint_group_id: group of the interface endpoints; None = AWS is called over the internet.
        prefix_list_ids: service -> prefix list of its gateway endpoint.
    """

    context: AwsContext
    vpc_id: pulumi.Input[str]
    endpoint_group_id: pulumi.Input[str] | None
    prefix_list_ids: Mapping[str, pulumi.Input[str]]


class SecurityGroups(pulumi.ComponentResource):
    """Groups of workers, builders and mount targets; none admits anything from outside the VPC.

    The Amazon DNS resolver, the time service and instance metadata need no rule: groups do not filter them.

    Attributes:
        worker_id: may call AWS by HTTPS and mount EFS; accepts no connections.
        builder_id: may call AWS by HTTPS; accepts no connections.
        file_system_id: NFS from workers; opens no connections.
    """

    def __init__(self, name: str, args: SecurityGroupsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:SecurityGroups", name, {}, opts)
        self._name, self._args = name, args
        self.worker_id = self._group("worker", "Workers: call AWS and EFS, are called by nobody")
        self.builder_id = self._group("builder", "Image builders: call AWS, are called by nobody")
        self.file_system_id = self._group("file-system", "EFS mount targets: NFS from workers")
        self._connect("worker-to-file-system", self.worker_id, self.file_system_id, _NFS)
        for caller, group in (("worker", self.worker_id), ("builder", self.builder_id)):
            self._https(caller, group)
        self.register_outputs(
            {"workerId": self.worker_id, "builderId": self.builder_id, "fileSystemId": self.file_system_id}
        )

    def _group(self, role: str, description: str) -> pulumi.Output[str]:
        return aws.ec2.SecurityGroup(
            f"{self._name}-{role}",
            vpc_id=self._args.vpc_id,
            description=description,
            tags=self._args.context.tags_for(role),
            opts=pulumi.ResourceOptions(parent=self),
        ).id

    def _https(self, caller: str, group: pulumi.Input[str]) -> None:
        """HTTPS to AWS: to anywhere where the internet can be reached, else to the endpoints alone."""
        if self._args.endpoint_group_id is None:
            self._egress(f"{caller}-to-anywhere", group, _HTTPS, cidr_ipv4="0.0.0.0/0")
            return
        self._connect(f"{caller}-to-endpoints", group, self._args.endpoint_group_id, _HTTPS)
        for service, prefix_list in self._args.prefix_list_ids.items():
            self._egress(f"{caller}-to-{service}", group, _HTTPS, prefix_list_id=prefix_list)

    def _connect(self, label: str, caller: pulumi.Input[str], callee: pulumi.Input[str], port: int) -> None:
        """Let `caller` out to `callee` and `callee` in from `caller`, on one TCP port."""
        self._egress(label, caller, port, referenced_security_group_id=callee)
        aws.vpc.SecurityGroupIngressRule(
            f"{self._name}-{label}-in",
            security_group_id=callee,
            referenced_security_group_id=caller,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=label,
            tags=self._args.context.tags_for(label),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _egress(self, label: str, caller: pulumi.Input[str], port: int, **to: pulumi.Input[str]) -> None:
        aws.vpc.SecurityGroupEgressRule(
            f"{self._name}-{label}",
            security_group_id=caller,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=label,
            tags=self._args.context.tags_for(label),
            opts=pulumi.ResourceOptions(parent=self),
            **to,
        )


_ANYWHERE: Final = "0.0.0.0/0"


@dataclass(frozen=True)
class PublicAccessArgs:
    """Guards between public subnets and the internet.

    Attributes:
        cidr: IPv4 block of the VPC.
        vpc_id: the VPC.
        subnet_ids: the public subnets.
    """

    context: AwsContext
    cidr: str
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]


class PublicAccess(pulumi.ComponentResource):
    """Lets instances with public addresses call out by HTTPS, and refuses all calls to them.

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
            tags=self._args.context.tags_for("public"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _warn_of_a_block(self) -> None:
        """VPC Block Public Access of the region; its mode is "off" where it was never set.

        No refusal: an account may have excluded this very VPC, which no function of the provider tells.
        """
        region, own = self._args.context.region, pulumi.ResourceOptions(parent=self)
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
