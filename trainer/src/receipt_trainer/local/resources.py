"""The stack on the embedded AWS: the program runs in this process, and what workers and commands use is created.

All else that the program registers (network, roles, alarms, functions, images, ...) is recorded only: nothing of local
mode asks for it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from pulumi import FileAsset, RunError, StringAsset

from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.local import mocks
from receipt_trainer.local.emulator import REGION, LocalCloud
from receipt_trainer.local.mocks import Registration
from receipt_trainer.local.pulumi_program import run
from receipt_trainer.local.stack_config import load_config, project_file

Clients = Callable[[str], Any]
"""boto3 client of a service by its name; may be called from several threads."""

Made = tuple[str, dict[str, Any]]
"""A resource's id, and the outputs that do not follow from its inputs."""


@dataclass(frozen=True)
class Resource:
    """One resource: token, logical name, and name or id on the embedded AWS; "" if it was only recorded."""

    type: str
    name: str
    physical: str = ""


@dataclass(frozen=True)
class Deployment:
    """Resources created on the embedded AWS, and those that are only recorded; each sorted by type and name.

    Attributes:
        registered: all of it as the program registered it, with the inputs that it had here.
    """

    outputs: StackOutputs
    created: list[Resource]
    recorded: list[Resource]
    registered: list[Registration]


def provision(
    program: Path,
    cloud: LocalCloud,
    *,
    stack: str = "dev",
    overrides: Mapping[str, Any] | None = None,
    with_wheels: bool = False,
) -> Deployment:
    """Run the program in a folder for a stack, create its resources, and hand the outputs to `cloud`.

    Args:
        cloud: started with `empty=True`.
        stack: whose `Pulumi.<stack>.yaml` is read, if there is one.
        overrides: configuration over that of the files; a key replaces.
        with_wheels: upload the wheelhouse that the program builds; otherwise one that cannot be installed.

    Raises:
        UserError: the configuration cannot be read, or the program refuses it.
        WorldError: the embedded AWS refuses a resource; with its words.
    """
    project = project_file(program)
    name = str(project["name"])
    creation = Creation(cloud.client)
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as scratch:
        config = load_config(program, stack, overrides) | {"aws:region": REGION}
        if not with_wheels:
            config |= _wheelhouse(project, config, Path(scratch))
        try:
            recording = run(program, project=name, stack=stack, config=config, become=creation.become)
        except RunError as error:
            raise UserError(str(error)) from None
    try:
        outputs = StackOutputs.parse(recording.outputs)
    except ValueError as error:
        raise UserError(f"{program}: {error}") from None
    cloud.adopt(outputs)
    found = sorted(creation.found, key=lambda one: (one.type, one.name))
    created, recorded = ([one for one in found if bool(one.physical) is wanted] for wanted in (True, False))
    return Deployment(outputs, created, recorded, recording.resources)


def _wheelhouse(project: Mapping[str, Any], config: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Configuration by which the program finds its wheelhouse in `folder`; none for a program without one."""
    key = f"{project['name']}:wheelhouse"
    declared = project.get("config") or {}
    if key not in declared and "wheelhouse" not in declared:
        return {}
    own = json.loads(config.get(key) or "{}")
    settings = {"python_versions": list(PYTHONS)} | own | {"path": str(folder)}
    stand_in(folder, settings["python_versions"])
    return {key: json.dumps(settings)}


PYTHONS: Final = ("3.12", "3.13")
"""Pythons of the stack's wheelhouse by default."""


def stand_in(folder: Path, pythons: Sequence[str] = PYTHONS) -> None:
    """Write a wheelhouse without wheels that can be installed, which the stack takes for a ready one.

    Nothing boots on the embedded AWS. It has the objects of a real one: an archive for all Pythons, one for each of
    several, and the trainer's wheel.
    """
    versions = sorted(pythons)
    groups = {"receipt_trainer": versions, "nothing": versions}
    groups |= {f"nothing_{one}".replace(".", ""): [one] for one in versions if len(versions) > 1}
    objects, wheels = [], []
    for name, group in groups.items():
        data, file = name.encode(), f"{name}-0-py3-none-any.whl"
        about: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "pythons": group}
        wheels.append(about | {"file": file, "name": name.replace("_", "-"), "version": "0"})
        key = f"trainer/{about['sha256']}/{file}"
        if name != "receipt_trainer":
            with tarfile.open(fileobj=(made := io.BytesIO()), mode="w") as archive:
                (entry := tarfile.TarInfo(file)).size = len(data)
                archive.addfile(entry, io.BytesIO(data))
            data = made.getvalue()
            about["sha256"] = hashlib.sha256(data).hexdigest()
            key = f"archives/{about['sha256']}.tar"
        (folder / key.rpartition("/")[2]).write_bytes(data)
        objects.append(about | {"key": key, "size": len(data)})
    rest = {
        "pythons": versions,
        "objects": sorted(objects, key=lambda one: str(one["key"])),
        "wheels": sorted(wheels, key=lambda one: str(one["file"])),
    }
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    manifest = {"hash": hashlib.sha256(text.encode()).hexdigest()} | rest
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


@dataclass
class Creation:
    """Creates what is registered, on the embedded AWS that `clients` lead to; `become` is called in several threads."""

    clients: Clients
    found: list[Resource] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def become(self, resource: Registration) -> Made:
        """Create one resource of a type in `CREATORS`; note any other. WorldError: the embedded AWS refuses it."""
        id_, outputs = mocks.become(resource, REGION)
        if resource.read or not resource.type.startswith("aws:"):
            return id_, outputs
        physical = ""
        if creator := CREATORS.get(resource.type):
            try:
                id_, real = creator(resource, mocks.name_of(resource), self.clients)
            except (ClientError, BotoCoreError) as error:
                raise WorldError(f"the embedded AWS refuses {resource.type} {resource.name}: {error}") from error
            outputs |= real
            physical = id_.rpartition("/" if id_.startswith("http") else ":")[2]
        with self._lock:
            self.found.append(Resource(resource.type, resource.name, physical))
        return id_, outputs


def _tags(resource: Registration) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in (resource.inputs.get("tags") or {}).items()]


def _pascal(value: Any) -> Any:
    """Mappings with keys as the API writes them: `volumeSize` -> `VolumeSize`."""
    if isinstance(value, Mapping):
        return {key[:1].upper() + key[1:]: _pascal(item) for key, item in value.items()}
    return [_pascal(item) for item in value] if isinstance(value, list) else value


def _given(resource: Registration, *names: str) -> dict[str, Any]:
    """Those of the inputs that are there, by the API's names."""
    inputs = resource.inputs
    found: dict[str, Any] = _pascal({name: inputs[name] for name in names if inputs.get(name) is not None})
    return found


def _keys(partition: str, sort: str | None) -> list[dict[str, str]]:
    names = [(partition, "HASH"), (sort, "RANGE")]
    return [{"AttributeName": name, "KeyType": kind} for name, kind in names if name]


def _index(index: Mapping[str, Any]) -> dict[str, Any]:
    schema = {key["keyType"]: key["attributeName"] for key in index.get("keySchemas") or []}
    projection = {"ProjectionType": index["projectionType"]}
    if included := index.get("nonKeyAttributes"):
        projection["NonKeyAttributes"] = included
    keys = _keys(schema.get("HASH") or index["hashKey"], schema.get("RANGE") or index.get("rangeKey"))
    return {"IndexName": index["name"], "KeySchema": keys, "Projection": projection}


def _table(resource: Registration, name: str, clients: Clients) -> Made:
    dynamodb, inputs = clients("dynamodb"), resource.inputs
    indexes = [_index(index) for index in inputs.get("globalSecondaryIndexes") or []]
    made = dynamodb.create_table(
        TableName=name,
        BillingMode=inputs.get("billingMode", "PAY_PER_REQUEST"),
        AttributeDefinitions=[
            {"AttributeName": one["name"], "AttributeType": one["type"]} for one in inputs["attributes"]
        ],
        KeySchema=_keys(inputs["hashKey"], inputs.get("rangeKey")),
        Tags=_tags(resource),
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
        **_given(resource, "deletionProtectionEnabled"),
    )
    if (ttl := inputs.get("ttl") or {}).get("enabled"):
        expiry = {"Enabled": True, "AttributeName": ttl["attributeName"]}
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=expiry)
    return name, {"arn": made["TableDescription"]["TableArn"]}


_QUEUE_ATTRIBUTES: Final = {
    "contentBasedDeduplication": "ContentBasedDeduplication",
    "deduplicationScope": "DeduplicationScope",
    "delaySeconds": "DelaySeconds",
    "fifoQueue": "FifoQueue",
    "fifoThroughputLimit": "FifoThroughputLimit",
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
    "redrivePolicy": "RedrivePolicy",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
}


def _queue(resource: Registration, name: str, clients: Clients) -> Made:
    inputs = resource.inputs
    attributes = {
        api: str(value).lower() if isinstance(value, bool) else str(value)
        for key, api in _QUEUE_ATTRIBUTES.items()
        if (value := inputs.get(key)) not in (None, False)  # AWS knows FifoQueue only as "true"
    }
    url = clients("sqs").create_queue(QueueName=name, Attributes=attributes, tags=inputs.get("tags") or {})["QueueUrl"]
    return url, {"url": url}


def _parameter(resource: Registration, name: str, clients: Clients) -> Made:
    value = resource.inputs.get("value") or resource.inputs["insecureValue"]
    wanted = {"Name": name, "Value": value, "Tags": _tags(resource)} | _given(resource, "type", "description", "tier")
    return name, {"version": clients("ssm").put_parameter(**wanted)["Version"]}


def _log_group(resource: Registration, name: str, clients: Clients) -> Made:
    clients("logs").create_log_group(logGroupName=name, tags=resource.inputs.get("tags") or {})
    return name, {}


def _topic(resource: Registration, name: str, clients: Clients) -> Made:
    arn = clients("sns").create_topic(Name=name, Tags=_tags(resource))["TopicArn"]
    return arn, {"arn": arn}


def _bucket(resource: Registration, name: str, clients: Clients) -> Made:
    s3, bucket = clients("s3"), name.lower()
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": _tags(resource)})
    return bucket, {"bucket": bucket}


def _object(resource: Registration, name: str, clients: Clients) -> Made:
    source, key = resource.inputs.get("source"), resource.inputs.get("key") or resource.name
    where = {"Bucket": resource.inputs["bucket"], "Key": key} | _given(resource, "contentType")
    if isinstance(source, FileAsset):
        with Path(source.path).open("rb") as file:
            clients("s3").put_object(**where, Body=file)
    else:
        text = source.text if isinstance(source, StringAsset) else str(resource.inputs.get("content", ""))
        clients("s3").put_object(**where, Body=text.encode())
    return key, {"key": key}


def _launch_template(resource: Registration, name: str, clients: Clients) -> Made:
    """Without the network and the instance profile, which are recorded only."""
    data = _given(
        resource,
        *("imageId", "instanceType", "userData", "instanceInitiatedShutdownBehavior"),
        *("blockDeviceMappings", "metadataOptions"),
    )
    for device in data.get("BlockDeviceMappings", []):
        for flag in {"Encrypted", "DeleteOnTermination"} & set(device.get("Ebs", {})):
            device["Ebs"][flag] = device["Ebs"][flag] in (True, "true")  # text in the provider
    made = clients("ec2").create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData=data,
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": _tags(resource)}],
    )["LaunchTemplate"]
    return made["LaunchTemplateId"], {"latestVersion": made["LatestVersionNumber"]}


def _group(resource: Registration, name: str, clients: Clients) -> Made:
    """In the region's own zones, as many as its subnets are, which are recorded only."""
    inputs = resource.inputs
    policy: dict[str, Any] = _pascal(inputs["mixedInstancesPolicy"])
    template = policy["LaunchTemplate"]["LaunchTemplateSpecification"]
    template["Version"] = str(template["Version"])
    autoscaling = clients("autoscaling")
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        MinSize=0,  # with one more than none the emulator would start instances that do nothing
        DesiredCapacity=0,
        MaxSize=inputs["maxSize"],
        AvailabilityZones=[f"{REGION}{letter}" for letter in "abcdef"[: len(inputs["vpcZoneIdentifiers"])]],
        MixedInstancesPolicy=policy,
        Tags=[_pascal(tag) for tag in inputs.get("tags") or []],
        **_given(resource, "capacityRebalance"),
    )
    for hook in inputs.get("initialLifecycleHooks") or []:
        autoscaling.put_lifecycle_hook(
            AutoScalingGroupName=name,
            LifecycleHookName=hook["name"],
            **_pascal({key: value for key, value in hook.items() if key != "name"}),
        )
    return name, {}


CREATORS: Final[dict[str, Callable[[Registration, str, Clients], Made]]] = {
    "aws:autoscaling/group:Group": _group,
    "aws:cloudwatch/logGroup:LogGroup": _log_group,
    "aws:dynamodb/table:Table": _table,
    "aws:ec2/launchTemplate:LaunchTemplate": _launch_template,
    "aws:s3/bucket:Bucket": _bucket,
    "aws:s3/bucketObjectv2:BucketObjectv2": _object,
    "aws:sns/topic:Topic": _topic,
    "aws:sqs/queue:Queue": _queue,
    "aws:ssm/parameter:Parameter": _parameter,
}
"""By type token: create a resource of a physical name."""
