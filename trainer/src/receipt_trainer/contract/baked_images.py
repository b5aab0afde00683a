"""Images that a stack has baked: which are its own, which of them go, and what is asked of AWS for it.

Only the standard library: the stack's function carries this file along, the command on a laptop imports it, and each
gives its clients of boto3. All errors of boto3 come through, but those that say that the work is done already. Sources:
EC2 Image Builder API Reference, ImageState, ListImages, ListImageBuildVersions and DeleteImage; EC2 Image Builder User
Guide, "Tag Image Builder output resources"; EC2 API Reference, DescribeImages, DeregisterImage and DeleteSnapshot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

VERSION: Final = "1.0.0"
"""Semantic version of every recipe and component: each has a name of its own, so that none needs another."""
CREATED_BY: Final = "EC2 Image Builder"
"""Value of the tag CreatedBy that Image Builder puts on all that it makes."""
SOURCE_TAG: Final = "Ec2ImageBuilderArn"
"""Tag with which Image Builder says on an AMI which image resource it is of."""

AVAILABLE: Final = "AVAILABLE"
DELETED: Final = "DELETED"
FINISHED: Final = frozenset({AVAILABLE, "FAILED", "CANCELLED", "DEPRECATED", "DISABLED"})
"""States in which no work is left. What is in none of these, or in one that we do not know, is left alone."""


@dataclass(frozen=True)
class Build:
    """An image resource of Image Builder: one bake; `arn` ends in `image/<recipe>/<version>/<number>`.

    `created_at` is ISO 8601 text in UTC; `image_ids` are AMIs in the region asked, none if it failed early.
    """

    arn: str
    status: str
    created_at: str
    image_ids: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`<recipe>/<version>/<number>`."""
        return self.arn.partition(":image/")[2]

    @property
    def is_finished(self) -> bool:
        """Whether it may be deleted: Image Builder refuses to delete what is being built."""
        return self.status in FINISHED


@dataclass(frozen=True)
class Ami:
    """An AMI of a stack; `source` is the ARN of its image resource, "" if no tag says so."""

    image_id: str
    created_at: str
    snapshot_ids: tuple[str, ...]
    source: str = ""


@dataclass(frozen=True)
class Going:
    """Resources to delete, in this order: an image resource goes last, for it leads to its AMIs."""

    amis: tuple[Ami, ...]
    builds: tuple[Build, ...]


def recipe_name(project: str, environment: str) -> str:
    """Name of the pipeline, and with `-` and seven random signs behind it of each component and recipe."""
    return f"{project}-{environment}-worker"


def image_tag(recipe: str) -> str:
    """Tag `Name` of the stack's AMIs; `recipe` is the name of the pipeline, `receipt-trainer-dev-worker`."""
    return f"{recipe}-image"


def is_own_name(name: str, recipe: str) -> bool:
    """Whether a component, a recipe or an image resource is the stack's: Pulumi puts seven random signs behind.

    Exactly so many, or `dev` would take what belongs to a stack that is called `dev-worker`.
    """
    return re.fullmatch(rf"{re.escape(recipe)}-[0-9a-f]{{7}}", name) is not None


def is_own_ami(tags: Mapping[str, str], recipe: str) -> bool:
    """Whether an AMI was made by Image Builder for this stack; the first tag without the second is somebody else's.

    An AMI whose bake failed in its tests has not got our own tags yet: it names its image resource all the same.
    """
    if tags.get("CreatedBy") != CREATED_BY:
        return False
    source = tags.get(SOURCE_TAG, "").partition(":image/")[2].partition("/")[0]
    return tags.get("Name") == image_tag(recipe) or is_own_name(source, recipe)


def expired(builds: Collection[Build], amis: Iterable[Ami], in_force: str) -> Going:
    """All but the image that the image parameter names, `in_force`, and the newest that is finished.

    These are one, but for the moment between a bake's end and its parameter, or where a person has set the parameter
    back.
    """
    newest = max((b for b in builds if b.status == AVAILABLE and b.image_ids), key=lambda b: b.created_at, default=None)
    return going(builds, amis, {in_force, *(newest.image_ids if newest else ())})


def going(builds: Collection[Build], amis: Iterable[Ami], kept: Collection[str] = ()) -> Going:
    """All that is finished, but what has one of the AMIs `kept`.

    An AMI that no image resource knows goes, too, but not while a bake is under way: it may be that one's.
    """
    gone = tuple(b for b in builds if b.is_finished and not set(b.image_ids) & set(kept))
    staying = [b for b in builds if b not in gone and b.status != DELETED]
    busy = any(not b.is_finished for b in staying)
    arns, ids = {b.arn for b in gone}, {image_id for b in gone for image_id in b.image_ids}
    kept_ids = {*kept, *(image_id for b in staying for image_id in b.image_ids)}
    kept_arns = {b.arn for b in staying}
    return Going(
        tuple(
            ami
            for ami in amis
            if ami.image_id not in kept_ids
            and ami.source not in kept_arns
            and (not busy or ami.image_id in ids or ami.source in arns)
        ),
        gone,
    )


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
        if not is_own_name(rest.partition("/")[0], recipe):
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
    made = [{"Name": "tag:CreatedBy", "Values": [CREATED_BY]}]
    found = []
    for page in ec2.get_paginator("describe_images").paginate(Owners=["self"], Filters=made, IncludeDisabled=True):
        for raw in page["Images"]:
            tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags") or ()}
            if is_own_ami(tags, recipe):
                volumes = [mapping.get("Ebs") or {} for mapping in raw.get("BlockDeviceMappings") or ()]
                snapshots = tuple(volume["SnapshotId"] for volume in volumes if volume.get("SnapshotId"))
                created = raw.get("CreationDate", "")
                found.append(Ami(raw["ImageId"], created, snapshots, tags.get(SOURCE_TAG, "")))
    return found


def delete_ami(ec2: Any, ami: Ami) -> None:
    """Deregister it and delete its snapshots; its instances keep running (EC2 User Guide, "Deregister an AMI").

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
