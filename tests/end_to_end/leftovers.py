"""Looks for everything of a stack that costs money, service by service, by its tags or its name.

Each service is asked itself: the tagging API still lists for hours what is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from tests.end_to_end.journey import Leftover

Client = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Stack:
    """Whose things are looked for: `project` and `environment` are in their tags and names."""

    client: Client
    project: str
    environment: str

    @property
    def prefix(self) -> str:
        """How names begin."""
        return f"{self.project}-{self.environment}"

    def pages(self, service: str, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
        """Every member of a list that AWS gives in pages."""
        for page in self.client(service).get_paginator(operation).paginate(**arguments):
            yield from page[key]

    def tagged(self, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
        """Of EC2, what bears both tags."""
        wanted = {"tag:Project": self.project, "tag:Environment": self.environment}
        filters = [{"Name": name, "Values": [value]} for name, value in wanted.items()]
        return self.pages("ec2", operation, key, Filters=filters, **arguments)

    def owns(self, tags: list[dict[str, str]]) -> bool:
        """Whether a list of tags says that it is this stack's."""
        found = {tag["Key"]: tag["Value"] for tag in tags}
        return (found.get("Project"), found.get("Environment")) == (self.project, self.environment)


def instances(stack: Stack) -> list[dict[str, Any]]:
    """As EC2 describes those that cost."""
    found = stack.tagged("describe_instances", "Reservations")
    every = [instance for reservation in found for instance in reservation["Instances"]]
    return [one for one in every if one["State"]["Name"] in ("pending", "running", "stopping", "stopped")]


def _instances(stack: Stack) -> Iterator[str]:
    yield from (one["InstanceId"] for one in instances(stack))


def _groups(stack: Stack) -> Iterator[str]:
    for group in stack.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups"):
        if stack.owns(group["Tags"]):
            yield group["AutoScalingGroupName"]


def _volumes(stack: Stack) -> Iterator[str]:
    yield from (one["VolumeId"] for one in stack.tagged("describe_volumes", "Volumes") if one["State"] != "deleting")


def _snapshots(stack: Stack) -> Iterator[str]:
    yield from (one["SnapshotId"] for one in stack.tagged("describe_snapshots", "Snapshots", OwnerIds=["self"]))


def _images(stack: Stack) -> Iterator[str]:
    yield from (one["ImageId"] for one in stack.tagged("describe_images", "Images", Owners=["self"]))


def _gateways(stack: Stack) -> Iterator[str]:
    for one in stack.tagged("describe_nat_gateways", "NatGateways"):
        if one["State"] != "deleted":
            yield one["NatGatewayId"]


def _addresses(stack: Stack) -> Iterator[str]:
    wanted = {"tag:Project": stack.project, "tag:Environment": stack.environment}
    filters = [{"Name": name, "Values": [value]} for name, value in wanted.items()]
    yield from (one["AllocationId"] for one in stack.client("ec2").describe_addresses(Filters=filters)["Addresses"])


def _endpoints(stack: Stack) -> Iterator[str]:
    for one in stack.tagged("describe_vpc_endpoints", "VpcEndpoints"):
        if one["State"].lower() != "deleted":
            yield one["VpcEndpointId"]


def _file_systems(stack: Stack) -> Iterator[str]:
    for one in stack.pages("efs", "describe_file_systems", "FileSystems"):
        if stack.owns(one["Tags"]) and one["LifeCycleState"] != "deleted":
            yield one["FileSystemId"]


def _buckets(stack: Stack) -> Iterator[str]:
    client = stack.client("s3")
    for bucket in client.list_buckets()["Buckets"]:
        try:
            tags = client.get_bucket_tagging(Bucket=bucket["Name"])["TagSet"]
        except ClientError:  # it has no tags, or is none of ours to look into
            continue
        if stack.owns(tags):
            yield bucket["Name"]


def _tables(stack: Stack) -> Iterator[str]:
    names = stack.pages("dynamodb", "list_tables", "TableNames")
    yield from (name for name in names if name.startswith(f"{stack.prefix}-"))


def _log_groups(stack: Stack) -> Iterator[str]:
    ours = (
        f"/{stack.project}/{stack.environment}/",
        *(f"/aws/{service}/{stack.prefix}-" for service in ("imagebuilder", "lambda")),
    )
    for prefix in ours:
        found = stack.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
        yield from (one["logGroupName"] for one in found)


def _alarms(stack: Stack) -> Iterator[str]:
    client = stack.client("cloudwatch")
    for one in stack.pages("cloudwatch", "describe_alarms", "MetricAlarms"):
        if stack.owns(client.list_tags_for_resource(ResourceARN=one["AlarmArn"])["Tags"]):
            yield one["AlarmName"]


def _dashboards(stack: Stack) -> Iterator[str]:
    found = stack.pages("cloudwatch", "list_dashboards", "DashboardEntries", DashboardNamePrefix=stack.prefix)
    yield from (one["DashboardName"] for one in found)


def _functions(stack: Stack) -> Iterator[str]:
    for one in stack.pages("lambda", "list_functions", "Functions"):
        if one["FunctionName"].startswith(f"{stack.prefix}-"):
            yield one["FunctionName"]


KINDS: Final[dict[str, tuple[Callable[[Stack], Iterator[str]], str]]] = {
    "Auto Scaling group": (
        _groups,
        "aws autoscaling delete-auto-scaling-group --auto-scaling-group-name {} --force-delete",
    ),
    "instance": (_instances, "aws ec2 terminate-instances --instance-ids {}"),
    "image": (_images, "aws ec2 deregister-image --image-id {} --delete-associated-snapshots"),
    "snapshot": (_snapshots, "aws ec2 delete-snapshot --snapshot-id {}"),
    "volume": (_volumes, "aws ec2 delete-volume --volume-id {}"),
    "NAT gateway": (_gateways, "aws ec2 delete-nat-gateway --nat-gateway-id {}"),
    "Elastic IP address": (_addresses, "aws ec2 release-address --allocation-id {}"),
    "VPC endpoint": (_endpoints, "aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {}"),
    "file system": (_file_systems, "aws efs delete-file-system --file-system-id {}"),
    "bucket": (_buckets, "aws s3api delete-bucket --bucket {}  (empty it in the S3 console first)"),
    "table": (_tables, "aws dynamodb delete-table --table-name {}"),
    "log group": (_log_groups, "aws logs delete-log-group --log-group-name {}"),
    "alarm": (_alarms, "aws cloudwatch delete-alarms --alarm-names {}"),
    "dashboard": (_dashboards, "aws cloudwatch delete-dashboards --dashboard-names {}"),
    "function": (_functions, "aws lambda delete-function --function-name {}"),
}
"""In the order in which they are removed: a group would launch another instance."""


def find(stack: Stack) -> list[Leftover]:
    """All of it.

    Raises:
        botocore.exceptions.BotoCoreError, ClientError: a service cannot be asked, so that nobody can say.
    """
    return [
        Leftover(kind, name, command.format(name)) for kind, (look, command) in KINDS.items() for name in look(stack)
    ]
