"""The VPC: subnets over the AZs, the way out, flow logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component
from infra.network.endpoints import Endpoints, EndpointsArgs
from infra.network.firewall import ANYWHERE, PublicAccess, PublicAccessArgs, SecurityGroups, SecurityGroupsArgs
from infra.network.subnets import plan


@dataclass(frozen=True)
class NetworkArgs:
    """Arguments of the network.

    Attributes:
        context: one public and one private subnet in each of its zones, in their order.
        nat: `none` = no way to the internet; `single` = one NAT gateway in the first AZ; `public` = workers and
            builders are in public subnets and have a public address while they run.
        bakes: images are built; with `public` the builder's subnet then hands out addresses.
    """

    context: AwsContext
    cidr: str
    nat: Literal["none", "single", "public"]
    bakes: bool
    flow_log_role_arn: pulumi.Input[str]
    flow_log_group_arn: pulumi.Input[str]


class Network(Component[NetworkArgs]):
    """A VPC whose instances accept no connections from outside.

    In us-east-1 a month costs: with `none` $65.70 for the interface endpoints (+ $0.01/GB), see `Endpoints`; with
    `single` $32.85 for the NAT gateway (+ $0.045/GB) and $3.65 for its address; with `public` only $0.005 for an
    instance and hour. `none` is the tightest: nothing in the VPC can reach the internet or be reached from it. With
    `public` no routing keeps callers away, but the groups and the network ACL do.

    Attributes:
        private_subnet_ids: one an AZ; hold the mount targets.
        worker_subnet_ids: one an AZ; the private ones, with `public` the public ones.
        builder_subnet_id: the first of them.
    """

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        context, is_public = args.context, args.nat == "public"
        self.vpc_id = self._vpc()
        subnets = plan(args.cidr, len(context.zones))
        public, private = self._subnets("public", subnets.public), self._subnets("private", subnets.private)
        # One table for all public subnets, one for each private subnet.
        public_table = self._route_table("public")
        private_tables = [self._route_table(f"private-{number}") for number in range(len(private))]
        pairs = [("public", number, subnet, public_table) for number, subnet in enumerate(public)]
        pairs += [("private", number, subnet, private_tables[number]) for number, subnet in enumerate(private)]
        for kind, number, subnet, table in pairs:
            aws.ec2.RouteTableAssociation(
                f"{name}-{kind}-{number}-routes", subnet_id=subnet.id, route_table_id=table.id, opts=self._child
            )
        if args.nat != "none":
            self._internet(public_table, public[0], private_tables)
        if is_public:
            of_public = [subnet.id for subnet in public]
            PublicAccess(f"{name}-public", PublicAccessArgs(context, args.cidr, self.vpc_id, of_public), self._child)
        # In one AZ only: each further AZ costs another $66 a month, and losing it stops work that can wait, as a single
        # NAT gateway would. Calls from other AZs pay $0.01/GB; bulk data goes to S3 and EFS, not through these.
        endpoints_args = EndpointsArgs(
            context=context,
            vpc_id=self.vpc_id,
            route_table_ids=[table.id for table in (*private_tables, *([public_table] if is_public else []))],
            reaches_internet=args.nat != "none",
            interface_subnet_ids=[private[0].id] if args.nat == "none" else [],
        )
        endpoints = Endpoints(f"{name}-endpoints", endpoints_args, self._child)
        groups_args = SecurityGroupsArgs(context, self.vpc_id, endpoints.security_group_id, endpoints.prefix_list_ids)
        groups = SecurityGroups(f"{name}-groups", groups_args, self._child)
        self.worker_security_group_id = groups.worker_id
        self.builder_security_group_id = groups.builder_id
        self.file_system_security_group_id = groups.file_system_id
        self.private_subnet_ids = [subnet.id for subnet in private]
        self.worker_subnet_ids = [subnet.id for subnet in (public if is_public else private)]
        self.builder_subnet_id = self.worker_subnet_ids[0]
        self.register_outputs(
            {
                "vpcId": self.vpc_id,
                "privateSubnetIds": self.private_subnet_ids,
                "workerSubnetIds": self.worker_subnet_ids,
                "workerSecurityGroupId": self.worker_security_group_id,
                "builderSecurityGroupId": self.builder_security_group_id,
                "fileSystemSecurityGroupId": self.file_system_security_group_id,
            }
        )

    def _vpc(self) -> pulumi.Output[str]:
        tags = self._args.context.tags_for
        vpc = aws.ec2.Vpc(
            f"{self._name}-vpc",
            cidr_block=self._args.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=tags("vpc"),
            opts=self._child,
        )
        # Adopts the VPC's default group and removes its rules: what forgets to name a group can talk to nothing.
        aws.ec2.DefaultSecurityGroup(
            f"{self._name}-default", vpc_id=vpc.id, ingress=[], egress=[], tags=tags("closed"), opts=self._child
        )
        aws.ec2.FlowLog(
            f"{self._name}-flow-log",
            vpc_id=vpc.id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=self._args.flow_log_group_arn,
            iam_role_arn=self._args.flow_log_role_arn,
            max_aggregation_interval=600,
            tags=tags("flow-log"),
            opts=self._child,
        )
        return vpc.id

    def _subnets(self, kind: str, cidrs: Sequence[str]) -> list[aws.ec2.Subnet]:
        # A zone that opens, or is out of order for a day, shifts the list of zones: a subnet stays where it is.
        stays = pulumi.ResourceOptions(parent=self, ignore_changes=["availabilityZone"])
        # Image Builder cannot ask for an address (its infrastructure configuration has no such member): the subnet
        # that it builds in must give one.
        gives = kind == "public" and self._args.nat == "public" and self._args.bakes
        return [
            aws.ec2.Subnet(
                f"{self._name}-{kind}-{number}",
                vpc_id=self.vpc_id,
                availability_zone=zone,
                cidr_block=cidr,
                map_public_ip_on_launch=gives and number == 0,
                tags=self._args.context.tags_for(f"{kind}-{number}"),
                opts=stays,
            )
            for number, (zone, cidr) in enumerate(zip(self._args.context.zones, cidrs, strict=True))
        ]

    def _route_table(self, kind: str) -> aws.ec2.RouteTable:
        tags = self._args.context.tags_for(kind)
        return aws.ec2.RouteTable(f"{self._name}-{kind}-table", vpc_id=self.vpc_id, tags=tags, opts=self._child)

    def _internet(
        self, public_table: aws.ec2.RouteTable, subnet: aws.ec2.Subnet, private_tables: list[aws.ec2.RouteTable]
    ) -> None:
        """Public subnets -> internet gateway; with `single` also private subnets -> NAT gateway in `subnet` -> it."""
        name, tags = self._name, self._args.context.tags_for
        gateway = aws.ec2.InternetGateway(
            f"{name}-internet", vpc_id=self.vpc_id, tags=tags("internet"), opts=self._child
        )
        self._way_out("public", public_table, gateway_id=gateway.id)
        if self._args.nat != "single":
            return
        # A gateway cannot be detached while the VPC has a public address: both of these must go before it.
        after_gateway = pulumi.ResourceOptions(parent=self, depends_on=[gateway])
        address = aws.ec2.Eip(f"{name}-nat-ip", domain="vpc", tags=tags("nat"), opts=after_gateway)
        nat = aws.ec2.NatGateway(
            f"{name}-nat", allocation_id=address.id, subnet_id=subnet.id, tags=tags("nat"), opts=after_gateway
        )
        for number, table in enumerate(private_tables):
            self._way_out(f"private-{number}", table, nat_gateway_id=nat.id)

    def _way_out(self, kind: str, table: aws.ec2.RouteTable, **to: pulumi.Input[str]) -> None:
        name = f"{self._name}-{kind}-out"
        aws.ec2.Route(name, route_table_id=table.id, destination_cidr_block=ANYWHERE, opts=self._child, **to)
