"""S3 and EFS on the embedded AWS."""

from __future__ import annotations

from typing import Any, Final

from pulumi import FileAsset, StringAsset

from receipt_trainer.local.property_mapping import Clients, Creator, given, pascal, tag_list
from receipt_trainer.local.recording import Registration

_Made = tuple[str, dict[str, Any]]


def _bucket(resource: Registration, name: str, clients: Clients) -> _Made:
    s3, bucket = clients("s3"), name.lower()
    s3.create_bucket(Bucket=bucket)
    if tags := tag_list(resource):
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    return bucket, {"bucket": bucket}


def _versioning(resource: Registration, name: str, clients: Clients) -> _Made:
    bucket = resource.inputs["bucket"]
    status = resource.inputs["versioningConfiguration"]["status"]
    clients("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
    return bucket, {}


def _encryption(resource: Registration, name: str, clients: Clients) -> _Made:
    bucket = resource.inputs["bucket"]
    rules = [
        {
            "ApplyServerSideEncryptionByDefault": {
                "SSEAlgorithm": rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"]
            },
            "BucketKeyEnabled": bool(rule.get("bucketKeyEnabled")),
        }
        for rule in resource.inputs["rules"]
    ]
    clients("s3").put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    return bucket, {}


def _public_access(resource: Registration, name: str, clients: Clients) -> _Made:
    keys = ("blockPublicAcls", "ignorePublicAcls", "blockPublicPolicy", "restrictPublicBuckets")
    bucket = resource.inputs["bucket"]
    block = {key: bool(resource.inputs.get(key)) for key in keys}
    clients("s3").put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=pascal(block))
    return bucket, {}


def _ownership(resource: Registration, name: str, clients: Clients) -> _Made:
    bucket = resource.inputs["bucket"]
    rules = {"Rules": [pascal(resource.inputs["rule"])]}
    clients("s3").put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    return bucket, {}


def _lifecycle(resource: Registration, name: str, clients: Clients) -> _Made:
    bucket = resource.inputs["bucket"]
    rules = []
    for rule in resource.inputs["rules"]:
        rules.append(pascal({key: value for key, value in rule.items() if key != "id"}) | {"ID": rule["id"]})
        rules[-1].setdefault("Filter", {"Prefix": ""})
    clients("s3").put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    return bucket, {}


def _object(resource: Registration, name: str, clients: Clients) -> _Made:
    source, key = resource.inputs.get("source"), resource.inputs.get("key") or resource.name
    body: Any = resource.inputs.get("content", "")
    if isinstance(source, StringAsset):
        body = source.text
    where = {"Bucket": resource.inputs["bucket"], "Key": key} | given(resource, ContentType="contentType")
    if isinstance(source, FileAsset):
        with open(source.path, "rb") as file:  # noqa: PTH123 - an asset's path is text
            clients("s3").put_object(**where, Body=file)
    else:
        clients("s3").put_object(**where, Body=str(body).encode())
    return key, {"key": key}


def _file_system(resource: Registration, name: str, clients: Clients) -> _Made:
    efs = clients("efs")
    made = efs.create_file_system(
        CreationToken=resource.inputs.get("creationToken") or name,
        Encrypted=bool(resource.inputs.get("encrypted")),
        Tags=tag_list(resource),
        **given(resource, PerformanceMode="performanceMode", ThroughputMode="throughputMode"),
    )
    id_ = made["FileSystemId"]
    if policies := resource.inputs.get("lifecyclePolicies"):
        efs.put_lifecycle_configuration(FileSystemId=id_, LifecyclePolicies=_efs_lifecycle(policies))
    return id_, {"arn": made["FileSystemArn"]}


def _efs_lifecycle(policies: list[dict[str, str]]) -> list[dict[str, str]]:
    words = {"transitionToIa": "TransitionToIA"}
    return [{words.get(key, key[:1].upper() + key[1:]): value for key, value in one.items()} for one in policies]


def _access_point(resource: Registration, name: str, clients: Clients) -> _Made:
    made = clients("efs").create_access_point(
        ClientToken=name,
        FileSystemId=resource.inputs["fileSystemId"],
        Tags=tag_list(resource),
        **pascal({key: resource.inputs[key] for key in ("posixUser", "rootDirectory") if key in resource.inputs}),
    )
    return made["AccessPointId"], {"arn": made["AccessPointArn"]}


def _mount_target(resource: Registration, name: str, clients: Clients) -> _Made:
    wanted = given(resource, FileSystemId="fileSystemId", SubnetId="subnetId", SecurityGroups="securityGroups")
    made = clients("efs").create_mount_target(**wanted)
    return made["MountTargetId"], {"ipAddress": made["IpAddress"], "networkInterfaceId": made["NetworkInterfaceId"]}


def _file_system_policy(resource: Registration, name: str, clients: Clients) -> _Made:
    clients("efs").put_file_system_policy(**given(resource, FileSystemId="fileSystemId", Policy="policy"))
    return resource.inputs["fileSystemId"], {}


CREATORS: Final[dict[str, Creator]] = {
    "aws:s3/bucket:Bucket": _bucket,
    "aws:s3/bucketVersioning:BucketVersioning": _versioning,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _encryption,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _public_access,
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _ownership,
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _lifecycle,
    "aws:s3/bucketObjectv2:BucketObjectv2": _object,
    "aws:efs/fileSystem:FileSystem": _file_system,
    "aws:efs/accessPoint:AccessPoint": _access_point,
    "aws:efs/mountTarget:MountTarget": _mount_target,
    "aws:efs/fileSystemPolicy:FileSystemPolicy": _file_system_policy,
}
