"""What the AWS provider's functions answer where there is no AWS."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

ACCOUNT: Final = "123456789012"
PARTITION: Final = "aws"
IMAGE: Final = "ami-12c6146b"  # one that moto knows

STACK_REFERENCE: Final = "pulumi:pulumi:StackReference"

Answer = Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]]
"""What a provider function returns, or a function of its arguments (names of the wire) that says so.

Under a resource's token: the outputs of one that is read by its id, or a function of `{"id": ..., **inputs}`.
"""


def call(token: str, arguments: dict[str, Any], region: str, answers: Mapping[str, Answer]) -> dict[str, Any]:
    """The result of one provider function; `answers` (by token) come first.

    Raises:
        LookupError: it is none that is known here.
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
    """EC2's answers of DescribeInstanceTypes by type, as moto ships them.

    Raises:
        LookupError: there is no moto.
    """
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
        "memorySize": found["MemoryInfo"]["SizeInMiB"],
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
