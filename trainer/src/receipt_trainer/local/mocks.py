"""What a Pulumi program registers, and the provider's answers without AWS: results of functions, ids and outputs."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True)
class Registration:
    """One resource as the program asked for it.

    Attributes:
        type, name: token, such as `aws:s3/bucket:Bucket`, and logical name.
        inputs: by their names on the wire (camelCase), secrets unwrapped; an integral number is an int.
        parent: URN; "" for none.
        dependencies: URNs, of `depends_on` and of the inputs.
        delete_before_replace: None where the program leaves it to the provider.
        aliases: URNs that the resource had before, as the engine would resolve them.
        references: for each input, the URNs of the resources whose ids or outputs it was made of.
        custom: False for a component.
        read: True for a `.get()`, which the stack does not own.
        id: of the resource that is read or imported; "" for one to be created.
        secret_inputs: names of the inputs that are or hold a secret.
    """

    type: str
    name: str
    urn: str
    inputs: dict[str, Any]
    parent: str = ""
    dependencies: tuple[str, ...] = ()
    protect: bool = False
    retain_on_delete: bool = False
    delete_before_replace: bool | None = None
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    custom: bool = True
    read: bool = False
    id: str = ""
    secret_inputs: tuple[str, ...] = ()


@dataclass
class Recording:
    """The result of a run: resources by type and name, outputs with secrets unwrapped, what was logged."""

    resources: list[Registration] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    secret_outputs: tuple[str, ...] = ()
    messages: list[str] = field(default_factory=list)

    def of_type(self, token: str) -> list[Registration]:
        """The resources of one type, sorted by name; empty if there are none."""
        return [resource for resource in self.resources if resource.type == token]

    def one(self, name: str, token: str | None = None) -> Registration:
        """The resource of a logical name (and type); LookupError: there is none, or more than one."""
        found = [r for r in self.resources if r.name == name and token in (None, r.type)]
        if len(found) != 1:
            named = (
                ", ".join(r.type for r in found)
                or f"none; there are {', '.join(sorted({r.name for r in self.resources}))}"
            )
            raise LookupError(f"resource '{name}': {named}")
        return found[0]


Become = Callable[[Registration], tuple[str, dict[str, Any]]]
"""Makes a resource's results: its id and its outputs, which need not repeat the inputs. Called from several threads."""


ACCOUNT: Final = "123456789012"
PARTITION: Final = "aws"
IMAGE: Final = "ami-12c6146b"  # one that moto knows

STACK_REFERENCE: Final = "pulumi:pulumi:StackReference"

Answer = Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]]
"""The result of a provider function, or a function of its arguments (names of the wire) that says so.

Under a resource's token: the outputs of one that is read by its id, or a function of `{"id": ..., **inputs}`.
"""


def call(token: str, arguments: dict[str, Any], region: str, answers: Mapping[str, Answer]) -> dict[str, Any]:
    """The result of one provider function; `answers` (by token) come first.

    Raises:
        LookupError: the function is unknown here.
    """
    answer = answers.get(token) or _known(region).get(token)
    if answer is None:
        raise LookupError(f"no answer for the provider function {token}; arguments: {arguments}")
    return dict(answer(arguments) if callable(answer) else answer)


def read(token: str, arguments: dict[str, Any], answers: Mapping[str, Answer]) -> dict[str, Any] | None:
    """The outputs of a resource that exists already; None where nothing is known of it.

    A stack has no outputs before its first update, so that is what a reference to one reads where `answers` are silent.
    """
    answer = answers.get(token)
    if answer is None and token == STACK_REFERENCE:
        answer = {"name": arguments.get("name"), "outputs": {}, "secretOutputNames": []}
    if answer is None:
        return None
    return dict(answer(arguments) if callable(answer) else answer)


@cache
def _types() -> dict[str, dict[str, Any]]:
    """EC2's answers of DescribeInstanceTypes by type, as moto ships them; LookupError: there is no moto."""
    # Its file alone: importing moto would import boto3 too, which this program does without.
    found = find_spec("moto")
    if found is None or found.origin is None:
        raise LookupError("instance types are read from moto, which is not installed")
    packed = Path(found.origin).parent / "ec2" / "resources" / "instance_types.json.gz"
    types: dict[str, dict[str, Any]] = json.loads(gzip.decompress(packed.read_bytes()))
    return types


def _instance_types(arguments: dict[str, Any]) -> Mapping[str, Any]:
    """By a filter of names; no other filter is known here."""
    (names,) = (item["values"] for item in arguments["filters"] if item["name"] == "instance-type")
    return {"id": "types", "instanceTypes": [name for name in names if name in _types()]}


def _instance_type(arguments: dict[str, Any]) -> Mapping[str, Any]:
    name = arguments["instanceType"]
    found = _types()[name]
    return {
        "id": name,
        "instanceType": name,
        "defaultVcpus": found["VCpuInfo"]["DefaultVCpus"],
        "supportedArchitectures": found["ProcessorInfo"]["SupportedArchitectures"],
        "gpuses": [
            {
                "count": gpu["Count"],
                "manufacturer": gpu["Manufacturer"],
                "name": gpu["Name"],
                "memorySize": gpu["MemoryInfo"]["SizeInMiB"],
            }
            for gpu in found.get("GpuInfo", {}).get("Gpus", [])
        ],
        "fpgas": found.get("FpgaInfo", {}).get("Fpgas", []),
        "inferenceAccelerators": found.get("InferenceAcceleratorInfo", {}).get("Accelerators", []),
        "mediaAccelerators": found.get("MediaAcceleratorInfo", {}).get("Accelerators", []),
        "neuronDevices": found.get("NeuronInfo", {}).get("NeuronDevices", []),
    }


def _known(region: str) -> dict[str, Answer]:
    return {
        "aws:index/getCallerIdentity:getCallerIdentity": {
            "accountId": ACCOUNT,
            "arn": f"arn:{PARTITION}:iam::{ACCOUNT}:root",
            "id": ACCOUNT,
            "userId": ACCOUNT,
        },
        "aws:index/getRegion:getRegion": {"name": region, "region": region, "id": region, "description": region},
        "aws:index/getPartition:getPartition": {
            "partition": PARTITION,
            "dnsSuffix": "amazonaws.com",
            "reverseDnsPrefix": "com.amazonaws",
            "id": PARTITION,
        },
        "aws:index/getAvailabilityZones:getAvailabilityZones": {
            "names": [f"{region}{letter}" for letter in "abcdef"],
            "zoneIds": [f"use1-az{number}" for number in range(1, 7)],
            "id": region,
        },
        "aws:ssm/getParameter:getParameter": lambda arguments: {
            "id": arguments["name"],
            "name": arguments["name"],
            "arn": f"arn:{PARTITION}:ssm:{region}:{ACCOUNT}:parameter{arguments['name']}",
            "type": "String",
            "value": IMAGE,
            "insecureValue": IMAGE,
            "version": 1,
        },
        "aws:ec2/getAmi:getAmi": {
            "id": IMAGE,
            "imageId": IMAGE,
            "name": "ami",
            "architecture": "x86_64",
            "rootDeviceName": "/dev/xvda",
            "creationDate": datetime.now(UTC).isoformat(),
        },
        "aws:ec2/getInstanceTypes:getInstanceTypes": _instance_types,
        "aws:ec2/getInstanceType:getInstanceType": _instance_type,
        "aws:ebs/getDefaultKmsKey:getDefaultKmsKey": {
            "id": region,
            "keyArn": f"arn:{PARTITION}:kms:{region}:{ACCOUNT}:alias/aws/ebs",
        },
    }


_NAME_KEYS: Final = {"aws:s3/bucket:Bucket": "bucket", "aws:cloudwatch/dashboard:Dashboard": "dashboardName"}


def name_of(resource: Registration) -> str:
    """The given physical name, else one as Pulumi makes them: the prefix or logical name, a dash and seven hex digits.

    Always the same for one URN; FIFO queues and topics end as AWS wants it.
    """
    name_key = _NAME_KEYS.get(resource.type, "name")
    if given := resource.inputs.get(name_key):
        return str(given)
    digits = hashlib.sha256(resource.urn.encode()).hexdigest()[:7]
    prefix = resource.inputs.get(f"{name_key}Prefix")
    suffix = ".fifo" if resource.inputs.get("fifoQueue") or resource.inputs.get("fifoTopic") else ""
    return f"{prefix}{digits}{suffix}" if prefix else f"{resource.name}-{digits}{suffix}"


def become(resource: Registration, region: str) -> tuple[str, dict[str, Any]]:
    """Id `<logical name>-id`, and computed outputs that later resources of a complete program can be fed with."""
    if not resource.type.startswith("aws:"):
        return f"{resource.name}-id", {}
    key = _NAME_KEYS.get(resource.type, "name")
    name = name_of(resource)
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
    """The outputs that the program uses beside name and ARN."""
    by_kind: dict[str, dict[str, Any]] = {
        "Queue": {"url": f"https://sqs.{region}.amazonaws.com/{ACCOUNT}/{name}"},
        "LaunchTemplate": {"latestVersion": 1},
        "Parameter": {"version": 1},
        "VpcEndpoint": {"prefixListId": f"{resource.name}-prefix-list-id"},
        "VpcBlockPublicAccessOptions": {"internetGatewayBlockMode": "off"},
    }
    return by_kind.get(resource.type.rpartition(":")[2], {})
