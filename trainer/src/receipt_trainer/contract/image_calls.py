"""What is asked of Image Builder and EC2 about baked images, by whoever has clients of boto3.

The clients are given, so that the stack's function and the command on a laptop ask the same with nothing but the
standard library here. All errors of boto3 come through, but those that say that the work is done already. Sources: EC2
Image Builder API Reference, ListImages, ListImageBuildVersions and DeleteImage; EC2 API Reference, DescribeImages,
DeregisterImage and DeleteSnapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from receipt_trainer.contract import images
from receipt_trainer.contract.images import Ami, Build

_GONE = frozenset({"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidSnapshot.NotFound"})
_GONE_OR_USED = _GONE | {"InvalidSnapshot.InUse"}


def pages(call: Callable[..., Any], key: str, **arguments: Any) -> Iterator[Any]:
    """The items under `key` of all pages; not by a paginator, which boto3 has for few calls of Image Builder."""
    token: dict[str, str] = {}
    while True:
        answer = call(**arguments, **token)
        yield from answer.get(key) or ()
        if not answer.get("nextToken"):
            return
        token = {"nextToken": answer["nextToken"]}


def read_builds(imagebuilder: Any, recipe: str) -> list[Build]:
    """All image resources of the stack whose pipeline is called `recipe`, in every state."""
    # AWS compares names that begin so; which of them are ours is said in one place.
    named = [{"name": "name", "values": [f"{recipe}-*"]}]
    region = imagebuilder.meta.region_name
    found = []
    for version in pages(imagebuilder.list_images, "imageVersionList", owner="Self", filters=named):
        _, _, rest = version["arn"].partition(":image/")
        if not images.is_own_name(rest.partition("/")[0], recipe):
            continue
        asked = {"imageVersionArn": version["arn"]}
        found += [
            _build(raw, region) for raw in pages(imagebuilder.list_image_build_versions, "imageSummaryList", **asked)
        ]
    return found


def _build(raw: Any, region: str) -> Build:
    amis = (raw.get("outputResources") or {}).get("amis") or ()
    return Build(
        arn=raw["arn"],
        status=(raw.get("state") or {}).get("status", ""),
        created_at=raw.get("dateCreated", ""),
        image_ids=tuple(ami["image"] for ami in amis if ami.get("image") and ami.get("region", region) == region),
    )


def read_amis(ec2: Any, recipe: str) -> list[Ami]:
    """The AMIs of that stack in the account and region of the client."""
    made = [{"Name": "tag:CreatedBy", "Values": [images.CREATED_BY]}]
    found = []
    for page in ec2.get_paginator("describe_images").paginate(Owners=["self"], Filters=made, IncludeDisabled=True):
        for raw in page["Images"]:
            tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags") or ()}
            if images.is_own_ami(tags, recipe):
                volumes = [mapping.get("Ebs") or {} for mapping in raw.get("BlockDeviceMappings") or ()]
                snapshots = tuple(volume["SnapshotId"] for volume in volumes if volume.get("SnapshotId"))
                created = raw.get("CreationDate", "")
                found.append(Ami(raw["ImageId"], created, snapshots, tags.get(images.SOURCE_TAG, "")))
    return found


def delete_ami(ec2: Any, ami: Ami) -> None:
    """Deregister it and delete its snapshots; instances that run from it go on (EC2 User Guide, "Deregister an AMI").

    EC2 does both in one call, so that none is forgotten between two. What it left is deleted after, but for a snapshot
    that another AMI uses.
    """
    _unless(_GONE, ec2, ec2.deregister_image, ImageId=ami.image_id, DeleteAssociatedSnapshots=True)
    for snapshot_id in ami.snapshot_ids:
        _unless(_GONE_OR_USED, ec2, ec2.delete_snapshot, SnapshotId=snapshot_id)


def delete_build(imagebuilder: Any, build: Build) -> None:
    """Delete the image resource, which takes no AMI with it."""
    gone = {"ResourceNotFoundException"}
    _unless(gone, imagebuilder, imagebuilder.delete_image, imageBuildVersionArn=build.arn)


def _unless(codes: frozenset[str] | set[str], client: Any, call: Callable[..., Any], **arguments: Any) -> None:
    try:
        call(**arguments)
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise
