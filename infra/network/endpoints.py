"""VPC endpoints: the ways to AWS services that do not lead through the internet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext
from infra.iam import Statement, document

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

_S3_OBJECT_ACTIONS: Final = (
    "s3:GetObject",
    "s3:GetObjectTagging",
    "s3:GetObjectVersion",
    "s3:PutObject",
    "s3:PutObjectTagging",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)
_S3_BUCKET_ACTIONS: Final = ("s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads")
_S3_READING: Final = (
    "s3:GetObject",
    "s3:GetObjectTagging",
    "s3:GetObjectVersion",
    "s3:GetBucketLocation",
    "s3:ListBucket",
)
_TABLE_ACTIONS: Final = (
    "dynamodb:GetItem",
    "dynamodb:BatchGetItem",
    "dynamodb:Query",
    "dynamodb:Scan",
    "dynamodb:ConditionCheckItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:DescribeTable",
)


@dataclass(frozen=True)
class EndpointsArgs:
    """Arguments of the endpoints of one VPC.

    Attributes:
        context: also the account whose buckets and tables may be reached.
        vpc_id: the VPC.
        route_table_ids: tables that get the routes of the gateway endpoints.
        interface_subnet_ids: at most one subnet an AZ for interface endpoints; none = no interface endpoints.
        reaches_internet: the subnets have another way out than these endpoints.
    """

    context: AwsContext
    vpc_id: pulumi.Input[str]
    route_table_ids: Sequence[pulumi.Input[str]]
    interface_subnet_ids: Sequence[pulumi.Input[str]]
    reaches_internet: bool


class Endpoints(pulumi.ComponentResource):
    """Gateway endpoints for S3 and DynamoDB (free), and interface endpoints where there is no NAT.

    An interface endpoint costs about $0.01 an hour and AZ in us-east-1, $7.30 a month, and $0.01/GB: the nine of
    INTERFACE_SERVICES are $65.70 a month in one AZ.

    Attributes:
        prefix_list_ids: `s3` and `dynamodb` -> managed prefix list of the service, for security group rules.
        security_group_id: group of the interface endpoints, still without rules; None if there are none.
    """

    security_group_id: pulumi.Output[str] | None = None

    def __init__(self, name: str, args: EndpointsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:Endpoints", name, {}, opts)
        self._name, self._args = name, args
        policies = {"s3": _s3_policy(args), "dynamodb": _dynamodb_policy(args)}
        self.prefix_list_ids = {service: self._gateway(service, policy) for service, policy in policies.items()}
        if args.interface_subnet_ids:
            self.security_group_id = self._group()
            for service in INTERFACE_SERVICES:
                self._interface(service, self.security_group_id)
        self.register_outputs({"prefixListIds": self.prefix_list_ids, "securityGroupId": self.security_group_id})

    def _group(self) -> pulumi.Output[str]:
        return aws.ec2.SecurityGroup(
            f"{self._name}-group",
            vpc_id=self._args.vpc_id,
            description="VPC endpoints: HTTPS from workers and builders",
            tags=self._args.context.tags_for("endpoints"),
            opts=pulumi.ResourceOptions(parent=self),
        ).id

    def _gateway(self, service: str, statements: Sequence[Statement]) -> pulumi.Output[str]:
        endpoint = aws.ec2.VpcEndpoint(
            f"{self._name}-{service}",
            vpc_id=self._args.vpc_id,
            service_name=f"com.amazonaws.{self._args.context.region}.{service}",
            vpc_endpoint_type="Gateway",
            route_table_ids=self._args.route_table_ids,
            policy=document(statements),
            tags=self._args.context.tags_for(service),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return endpoint.prefix_list_id

    def _interface(self, service: str, group: pulumi.Input[str]) -> None:
        # No endpoint policy: what may be called is in the roles, and the group lets in workers and builders only.
        aws.ec2.VpcEndpoint(
            f"{self._name}-{service}",
            vpc_id=self._args.vpc_id,
            service_name=f"com.amazonaws.{self._args.context.region}.{service}",
            vpc_endpoint_type="Interface",
            private_dns_enabled=True,
            subnet_ids=self._args.interface_subnet_ids,
            security_group_ids=[group],
            tags=self._args.context.tags_for(service),
            opts=pulumi.ResourceOptions(parent=self),
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
        others = _allow("ReadingAnyBucket", _S3_READING, f"{objects}*")
    else:
        published = [objects + pattern for pattern in _public_buckets(args.context.region)]
        others = _allow("PackagesAndAgentsOfAws", ["s3:GetObject"], published)
    return [
        _allow("ObjectsOfThisAccount", _S3_OBJECT_ACTIONS, f"{objects}*/*", own),
        _allow("BucketsOfThisAccount", _S3_BUCKET_ACTIONS, f"{objects}*", own),
        others,
    ]


def _dynamodb_policy(args: EndpointsArgs) -> list[Statement]:
    """Items of this account's tables in this region; a receipts table of another stack may be read, so any name."""
    tables = args.context.arn("dynamodb", "table/")
    own = {"StringEquals": {"aws:PrincipalAccount": args.context.account_id}}
    return [_allow("TablesOfThisAccount", _TABLE_ACTIONS, [f"{tables}*", f"{tables}*/index/*"], own)]


def _allow(
    sid: str, actions: Sequence[str], resource: str | Sequence[str], condition: dict[str, Any] | None = None
) -> Statement:
    statement = {"Sid": sid, "Effect": "Allow", "Principal": "*", "Action": list(actions), "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement
