"""Baked images of a stack: image resources of the stand-in for Image Builder, AMIs of the embedded AWS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from receipt_trainer.contract import baked_images
from tests.image_builder import ImageBuilder

PARENT = "ami-12c6146b"  # an image that moto knows


@dataclass
class Baked:
    """One stack's images; every stack of a test has an environment of its own."""

    builder: ImageBuilder
    client: Callable[[str], Any]
    environment: str = field(default_factory=lambda: f"t{uuid4().hex[:8]}")

    @property
    def recipe(self) -> str:
        """Name of the pipeline."""
        return baked_images.recipe_name("receipt-trainer", self.environment)

    @property
    def parameter(self) -> str:
        """Name of the image parameter."""
        return f"/imagebuilder/receipt-trainer/{self.environment}/worker-image"

    def name(self, number: int = 0) -> str:
        """Of a recipe, as Pulumi makes it."""
        return f"{self.recipe}-{number:07x}"

    def ami(self, source: str = "", **tags: str) -> str:
        """An AMI with one snapshot; its id. Without tags it has those of a finished bake of this stack."""
        ec2 = self.client("ec2")
        volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
        snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
        ec2.delete_volume(VolumeId=volume)
        given = tags or {"CreatedBy": baked_images.CREATED_BY, "Name": baked_images.image_tag(self.recipe)}
        given |= {baked_images.SOURCE_TAG: source} if source else {}
        root = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, "VolumeSize": 1}}
        asked = {"Name": uuid4().hex, "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": [root]}
        made: str = ec2.register_image(**asked)["ImageId"]
        ec2.create_tags(Resources=[made], Tags=[{"Key": key, "Value": value} for key, value in given.items()])
        return made

    def bake(self, number: int, status: str = baked_images.AVAILABLE, recipe: int = 0) -> tuple[str, str]:
        """A bake on that day of November, with an AMI; ARN of the image resource and id of the AMI."""
        ami = self.ami()
        created = f"2026-11-{number:02}T06:00:00.000Z"
        return self.builder.add_image(self.name(recipe), number, status, created, ami), ami

    def put(self, image_id: str) -> None:
        """Let the image parameter name it."""
        self.client("ssm").put_parameter(Name=self.parameter, Value=image_id, Type="String", Overwrite=True)

    def in_force(self) -> str:
        """What the image parameter names."""
        value: str = self.client("ssm").get_parameter(Name=self.parameter)["Parameter"]["Value"]
        return value

    def snapshot(self, image_id: str) -> str:
        """Of an AMI that is there."""
        found = self.client("ec2").describe_images(ImageIds=[image_id])["Images"][0]
        snapshot: str = found["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
        return snapshot

    def amis(self, *image_ids: str) -> set[str]:
        """Those that are there."""
        asked = [{"Name": "image-id", "Values": list(image_ids)}]
        return {one["ImageId"] for one in self.client("ec2").describe_images(Filters=asked)["Images"]}

    def snapshots(self, *snapshot_ids: str) -> set[str]:
        """Those that are there."""
        found = self.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
        return {one["SnapshotId"] for one in found} & set(snapshot_ids)


@contextmanager
def baked(client: Callable[[str], Any]) -> Iterator[Baked]:
    """A stack without images; `client` makes clients of the embedded AWS."""
    with ImageBuilder() as builder:
        yield Baked(builder, client)
