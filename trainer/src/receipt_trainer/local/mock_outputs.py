"""Plausible ids and outputs of AWS resources that nobody creates."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from receipt_trainer.local.mock_invokes import ACCOUNT, PARTITION
from receipt_trainer.local.program_recording import Registration

_NAME_KEYS: Final = {"aws:s3/bucket:Bucket": "bucket", "aws:cloudwatch/dashboard:Dashboard": "dashboardName"}


def name_of(resource: Registration) -> str:
    """The physical name, under whatever key the type has it; see `physical_name`."""
    return physical_name(resource, _NAME_KEYS.get(resource.type, "name"))


def physical_name(resource: Registration, name_key: str = "name") -> str:
    """The given name, else one as Pulumi makes them: the prefix or logical name, a dash and seven hex digits.

    Always the same for one URN; FIFO queues and topics end as AWS wants it.
    """
    if given := resource.inputs.get(name_key):
        return str(given)
    digits = hashlib.sha256(resource.urn.encode()).hexdigest()[:7]
    prefix = resource.inputs.get(f"{name_key}Prefix")
    suffix = ".fifo" if resource.inputs.get("fifoQueue") or resource.inputs.get("fifoTopic") else ""
    return f"{prefix}{digits}{suffix}" if prefix else f"{resource.name}-{digits}{suffix}"


def become(resource: Registration, region: str) -> tuple[str, dict[str, Any]]:
    """Id `<logical name>-id`, and computed outputs that later resources of a whole program can be fed with."""
    if not resource.type.startswith("aws:"):
        return f"{resource.name}-id", {}
    key = _NAME_KEYS.get(resource.type, "name")
    name = physical_name(resource, key)
    service = resource.type.split(":")[1].split("/")[0]
    made = _ARNS.get(resource.type, _arn)
    outputs = {key: name, "arn": made(service, region, name)} | _computed(resource, region, name)
    return resource.id or f"{resource.name}-id", outputs


def _arn(service: str, region: str, name: str) -> str:
    return f"arn:{PARTITION}:{service}:{region}:{ACCOUNT}:{name}"


def _kind(service: str, kind: str, region: str | None = None) -> Callable[[str, str, str], str]:
    return lambda _, here, name: (
        f"arn:{PARTITION}:{service}:{here if region is None else region}:{ACCOUNT}:{kind}{name}"
    )


_ARNS: Final[dict[str, Callable[[str, str, str], str]]] = {
    "aws:s3/bucket:Bucket": lambda _, region, name: f"arn:{PARTITION}:s3:::{name}",
    "aws:dynamodb/table:Table": _kind("dynamodb", "table/"),
    "aws:iam/role:Role": _kind("iam", "role/", ""),
    "aws:iam/policy:Policy": _kind("iam", "policy/", ""),
    "aws:iam/instanceProfile:InstanceProfile": _kind("iam", "instance-profile/", ""),
    "aws:ssm/parameter:Parameter": _kind("ssm", "parameter"),
    "aws:cloudwatch/logGroup:LogGroup": _kind("logs", "log-group:"),
    "aws:cloudwatch/metricAlarm:MetricAlarm": _kind("cloudwatch", "alarm:"),
    "aws:cloudwatch/dashboard:Dashboard": _kind("cloudwatch", "dashboard/", ""),
    "aws:efs/fileSystem:FileSystem": _kind("elasticfilesystem", "file-system/"),
    "aws:efs/accessPoint:AccessPoint": _kind("elasticfilesystem", "access-point/"),
    "aws:ec2/launchTemplate:LaunchTemplate": _kind("ec2", "launch-template/"),
    "aws:ec2/vpc:Vpc": _kind("ec2", "vpc/"),
    "aws:ec2/subnet:Subnet": _kind("ec2", "subnet/"),
    "aws:ec2/securityGroup:SecurityGroup": _kind("ec2", "security-group/"),
    "aws:autoscaling/group:Group": _kind("autoscaling", "autoScalingGroup:uuid:autoScalingGroupName/"),
    "aws:lambda/function:Function": _kind("lambda", "function:"),
    "aws:cloudwatch/eventRule:EventRule": _kind("events", "rule/"),
    "aws:imagebuilder/component:Component": _kind("imagebuilder", "component/"),
    "aws:imagebuilder/imageRecipe:ImageRecipe": _kind("imagebuilder", "image-recipe/"),
    "aws:imagebuilder/imagePipeline:ImagePipeline": _kind("imagebuilder", "image-pipeline/"),
}


def _computed(resource: Registration, region: str, name: str) -> dict[str, Any]:
    kind = resource.type.rpartition(":")[2]
    id_ = resource.id or f"{resource.name}-id"
    by_kind: dict[str, dict[str, Any]] = {
        "Queue": {"url": f"https://sqs.{region}.amazonaws.com/{ACCOUNT}/{name}"},
        "LaunchTemplate": {"latestVersion": 1, "defaultVersion": 1},
        "Parameter": {"version": 1},
        "Bucket": {
            "bucketDomainName": f"{name}.s3.amazonaws.com",
            "bucketRegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
            "region": region,
        },
        "Vpc": {
            "defaultSecurityGroupId": f"{resource.name}-default-security-group-id",
            "defaultRouteTableId": f"{resource.name}-default-route-table-id",
            "defaultNetworkAclId": f"{resource.name}-default-network-acl-id",
            "mainRouteTableId": f"{resource.name}-main-route-table-id",
        },
        "VpcEndpoint": {"prefixListId": f"{resource.name}-prefix-list-id", "networkInterfaceIds": [], "dnsEntries": []},
        "FileSystem": {"dnsName": f"{id_}.efs.{region}.amazonaws.com"},
        "Role": {"uniqueId": f"{resource.name}-unique-id"},
        "VpcBlockPublicAccessOptions": {"internetGatewayBlockMode": "off"},
    }
    return by_kind.get(kind, {})
