"""VPC endpoints: the ways to AWS services that do not lead through the internet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component
from infra.iam import Statement, allow, document

INTERFACE_SERVICES: Final[Mapping[str, str]] = {
    "ssm": "parameters, and the SSM agent's registration",
    "ssmmessages": "SSM sessions and the commands of Image Builder",
    "ec2messages": "the same for SSM agents before 3.3.40",
    "sqs": "the job queues",
    "logs": "boot and worker logs",
    "monitoring": "metrics of the workers",
    "autoscaling": "scale-in protection, lifecycle hooks, the group's bounds, ending one's own instance",
    "ec2": "spot prices, of which a job's cost is made",
    "imagebuilder": "components of a bake, read by the build instance",
}
"""Service -> what would stop without it in a subnet without NAT; S3 and DynamoDB have gateways, EFS mount targets."""

_GET: Final = ("GetObject", "GetObjectTagging", "GetObjectVersion")
_S3_OBJECT_ACTIONS: Final = (
    *_GET,
    *("PutObject", "PutObjectTagging", "DeleteObject", "AbortMultipartUpload", "ListMultipartUploadParts"),
)
_S3_BUCKET_ACTIONS: Final = ("ListBucket", "GetBucketLocation", "ListBucketMultipartUploads")
_S3_READING: Final = (*_GET, "GetBucketLocation", "ListBucket")
_TABLE_ACTIONS: Final = (
    *("GetItem", "BatchGetItem", "Query", "Scan", "ConditionCheckItem"),
    *("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "DescribeTable"),
)


@dataclass(frozen=True)
class EndpointsArgs:
    """Arguments of the endpoints of one VPC.

    Attributes:
        context: also the account whose buckets and tables may be reached.
        route_table_ids: tables that get the routes of the gateway endpoints.
        interface_subnet_ids: at most one subnet an AZ for interface endpoints; none = no interface endpoints.
        reaches_internet: the subnets have another way out than these endpoints.
    """

    context: AwsContext
    vpc_id: pulumi.Input[str]
    route_table_ids: Sequence[pulumi.Input[str]]
    interface_subnet_ids: Sequence[pulumi.Input[str]]
    reaches_internet: bool


class Endpoints(Component[EndpointsArgs]):
    """Gateway endpoints for S3 and DynamoDB (free), and interface endpoints where there is no NAT.

    An interface endpoint costs about $0.01 an hour and AZ in us-east-1, $7.30 a month, and $0.01/GB: the nine of
    INTERFACE_SERVICES are $65.70 a month in one AZ.

    Attributes:
        prefix_list_ids: `s3` and `dynamodb` -> managed prefix list of the service, for security group rules.
        security_group_id: group of the interface endpoints, still without rules; None if there are none.
    """

    security_group_id: pulumi.Output[str] | None = None

    def __init__(self, name: str, args: EndpointsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        routed: dict[str, Any] = {"vpc_endpoint_type": "Gateway", "route_table_ids": args.route_table_ids}
        policies = {"s3": document(_s3_policy(args)), "dynamodb": document(_dynamodb_policy(args))}
        gateways = {service: self._endpoint(service, policy=policy, **routed) for service, policy in policies.items()}
        self.prefix_list_ids = {service: gateway.prefix_list_id for service, gateway in gateways.items()}
        if args.interface_subnet_ids:
            self.security_group_id = aws.ec2.SecurityGroup(
                f"{name}-group",
                vpc_id=args.vpc_id,
                description="VPC endpoints: HTTPS from workers and builders",
                tags=args.context.tags_for("endpoints"),
                opts=self._child,
            ).id
            for service in INTERFACE_SERVICES:
                # No endpoint policy: what may be called is in the roles, and the group lets in workers and builders.
                self._endpoint(
                    service,
                    vpc_endpoint_type="Interface",
                    private_dns_enabled=True,
                    subnet_ids=args.interface_subnet_ids,
                    security_group_ids=[self.security_group_id],
                )
        self.register_outputs({"prefixListIds": self.prefix_list_ids, "securityGroupId": self.security_group_id})

    def _endpoint(self, service: str, **given: Any) -> aws.ec2.VpcEndpoint:
        return aws.ec2.VpcEndpoint(
            f"{self._name}-{service}",
            vpc_id=self._args.vpc_id,
            service_name=f"com.amazonaws.{self._args.context.region}.{service}",
            tags=self._args.context.tags_for(service),
            opts=self._child,
            **given,
        )


def _public_buckets(region: str) -> list[str]:
    """Buckets of AWS that an instance reads while it boots or is baked, as the pattern of their objects.

    Sources: "SSM Agent communications with AWS managed S3 buckets", "Image Builder and AWS PrivateLink interface VPC
    endpoints". The package repositories of Amazon Linux 2023 have a suffix in their names that AWS does not promise.
    """
    return [
        f"al2023-repos-{region}-*/*",
        f"ec2imagebuilder-toe-{region}-prod/*",
        f"ec2imagebuilder-managed-resources-{region}-prod/components/*",
        f"amazon-ssm-{region}/*",
        f"amazon-ssm-packages-{region}/*",
        f"aws-ssm-{region}/*",
        f"aws-ssm-document-attachments-{region}/*",
        f"aws-ssm-distributor-file-{region}/*",
        f"{region}-birdwatcher-prod/*",
        f"patch-baseline-snapshot-{region}/*",
        f"aws-patch-manager-{region}-*/*",
    ]


def _s3_policy(args: EndpointsArgs) -> list[Statement]:
    """Buckets of this account, and reading others: data cannot leave for another account's bucket this way.

    The routes of the endpoint win over those of an internet gateway or NAT, so that this policy holds for every bucket
    of the region. Without internet the others are those of AWS that an instance needs; with it all that may be read
    anyway, such as a public data set: a policy that refused them would keep nothing in, for the internet is open.
    """
    objects = f"arn:{args.context.partition}:s3:::"
    own = {"StringEquals": {"aws:ResourceAccount": args.context.account_id}}
    if args.reaches_internet:
        others = allow("ReadingAnyBucket", "s3", _S3_READING, f"{objects}*", principal="*")
    else:
        published = [objects + pattern for pattern in _public_buckets(args.context.region)]
        others = allow("PackagesAndAgentsOfAws", "s3", ["GetObject"], published, principal="*")
    return [
        allow("ObjectsOfThisAccount", "s3", _S3_OBJECT_ACTIONS, f"{objects}*/*", own, principal="*"),
        allow("BucketsOfThisAccount", "s3", _S3_BUCKET_ACTIONS, f"{objects}*", own, principal="*"),
        others,
    ]


def _dynamodb_policy(args: EndpointsArgs) -> list[Statement]:
    """Items of this account's tables in this region; a receipts table of another stack may be read, so any name."""
    tables = args.context.arn("dynamodb", "table/")
    own = {"StringEquals": {"aws:PrincipalAccount": args.context.account_id}}
    of_tables = [f"{tables}*", f"{tables}*/index/*"]
    return [allow("TablesOfThisAccount", "dynamodb", _TABLE_ACTIONS, of_tables, own, principal="*")]
