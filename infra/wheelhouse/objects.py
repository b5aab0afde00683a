"""The wheelhouse in S3: pinned wheels as archives by content, the trainer's wheel, the manifest last.

An instance has no way to a package index; what it installs, it installs from here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component, named
from infra.wheelhouse.manifest import MANIFEST, Manifest, Stored, load

ROOT = "wheelhouse"
"""Prefix of all that a wheelhouse has in its bucket."""


@dataclass(frozen=True)
class WheelhouseArgs:
    """The bucket that receives the wheels, and the local folder that holds them (see `wheel_manifest.load`)."""

    context: AwsContext
    bucket: pulumi.Input[str]
    folder: Path


class Wheelhouse(Component[WheelhouseArgs]):
    """At most five objects below `wheelhouse/`, and an SSM parameter that names the newest.

    `archives/<sha256>.tar` are pinned wheels, one archive that all Pythons share and one for each Python;
    `trainer/<sha256>/` has the trainer's wheel; `<hash>/manifest.json` comes after all others, so that a prefix whose
    manifest is there is complete. A new trainer is a new wheel and a new manifest, and no new archive.

    An object is never deleted with its resource (`retain_on_delete`): a launch template of yesterday names the prefix
    of yesterday, and an instance that boots from it while an update runs must still find its wheels. A lifecycle rule
    cannot tell a prefix in use from one that is not, so old objects stay until someone removes them, or the bucket.

    Attributes:
        prefix: `wheelhouse/<hash>`, where the manifest lies.
        content_hash: the manifest's hash, 64 hex digits.
        manifest_object: the object that is written last; who needs the wheels, depends on it.
        parameter_name, parameter_arn: of the SSM parameter, JSON with `bucket`, `prefix` and `hash`; a bake reads it.
            The name is known before the parameter is there: its users depend on this component, too.
    """

    def __init__(self, name: str, args: WheelhouseArgs, opts: pulumi.ResourceOptions | None = None):
        super().__init__(name, args, opts)
        manifest = load(args.folder)
        self.content_hash = manifest.hash
        self.prefix = f"{ROOT}/{manifest.hash}"
        parts = [
            self._object(_logical(stored, manifest), f"{ROOT}/{stored.key}", stored.file, stored.sha256, after=[])
            for stored in manifest.objects
        ]
        digest = hashlib.sha256(manifest.text().encode()).hexdigest()
        self.manifest_object = self._object("manifest", f"{self.prefix}/{MANIFEST}", MANIFEST, digest, after=parts)
        self.parameter_name = args.context.path("wheelhouse")
        self.parameter_arn = self._parameter().arn
        self.register_outputs({"prefix": self.prefix, "contentHash": self.content_hash})

    def _object(
        self, logical: str, key: str, file: str, digest: str, after: list[aws.s3.BucketObjectv2]
    ) -> aws.s3.BucketObjectv2:
        return aws.s3.BucketObjectv2(
            f"{self._name}-{logical}",
            bucket=self._args.bucket,
            key=key,
            source=pulumi.FileAsset(str(self._args.folder / file)),
            source_hash=digest,
            content_type="application/json" if file == MANIFEST else "application/octet-stream",
            server_side_encryption="AES256",
            opts=pulumi.ResourceOptions(parent=self, depends_on=after, retain_on_delete=True),
        )

    def _parameter(self) -> aws.ssm.Parameter:
        """A bake reads it, so that a new trainer is no new Image Builder component."""
        context = self._args.context
        value = {"bucket": self._args.bucket, "prefix": self.prefix, "hash": self.content_hash}
        return aws.ssm.Parameter(
            f"{self._name}-parameter",
            name=self.parameter_name,
            type="String",
            description="The wheelhouse that the next image gets",
            value=pulumi.Output.json_dumps(value, sort_keys=True),
            tags=context.tags_for("wheelhouse"),
            opts=named(self, depends_on=[self.manifest_object]),
        )


def _logical(stored: Stored, manifest: Manifest) -> str:
    if not stored.is_archive:
        return "receipt-trainer"
    return "archive" if stored.pythons == manifest.pythons else f"archive-{'-'.join(stored.pythons)}"
