"""The wheelhouse: the trainer's wheel and the pinned wheels it needs, in S3 under one content hash.

An instance has no way to a package index; what it installs, it installs from here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from infra.naming import Naming

MANIFEST = "manifest.json"
"""Name of the manifest in the folder and under the prefix; written last in both places."""

_FILE = r"^[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl$"


class WheelhouseError(pulumi.RunError, ValueError):
    """A wheelhouse that cannot be built or trusted; stops a preview with its one line."""


class Wheel(BaseModel):
    """One wheel: its file name, the hex sha256 of its bytes, the distribution's canonical name and its version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(pattern=_FILE)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)


class Manifest(BaseModel):
    """What a wheelhouse holds, for which Python ("3.12"), under which hash; wheels are sorted by file name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hash: str = Field(pattern="^[0-9a-f]{64}$")
    python: str = Field(pattern=r"^3\.[0-9]{1,2}$")
    wheels: tuple[Wheel, ...] = Field(min_length=1)

    @classmethod
    def of(cls, python: str, wheels: Iterable[Wheel]) -> Manifest:
        """The manifest of `wheels`, sorted, with the hash that follows from them."""
        ordered = tuple(sorted(wheels, key=lambda wheel: wheel.file))
        return cls(hash=content_hash(python, ordered), python=python, wheels=ordered)

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        files = [wheel.file for wheel in self.wheels]
        names = [wheel.name for wheel in self.wheels]
        if files != sorted(set(files)) or len(set(names)) != len(names):
            raise ValueError("wheels must be sorted by file, each file and each name once")
        if self.hash != content_hash(self.python, self.wheels):
            raise ValueError("hash does not follow from the wheels")
        return self

    def text(self) -> str:
        """The JSON that lies in the folder and in S3: the same bytes for the same wheels."""
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"


def content_hash(python: str, wheels: Iterable[Wheel]) -> str:
    """Hex sha256 over the Python version and each wheel's sha256 and file name, in order of the file names."""
    lines = sorted(f"{wheel.file}  {wheel.sha256}\n" for wheel in wheels)
    return hashlib.sha256("".join([f"python {python}\n", *lines]).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(folder: Path) -> Manifest:
    """The manifest of the wheelhouse in `folder`, after every file was read and compared with it.

    Raises WheelhouseError (a ValueError) that names the file which is missing, strange or changed.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WheelhouseError(f"{path}: {error.strerror}; delete the folder, and it is built anew") from error
    except (ValidationError, UnicodeDecodeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise WheelhouseError(f"{path}: not a manifest of a wheelhouse: {reason}") from error
    for wheel in manifest.wheels:
        file = folder / wheel.file
        if not file.is_file():
            raise WheelhouseError(f"{file}: missing, but {MANIFEST} lists it; delete the folder, and it is built anew")
        if file_sha256(file) != wheel.sha256:
            raise WheelhouseError(f"{file}: its sha256 is not the one in {MANIFEST}; delete the folder")
    strange = {file.name for file in folder.glob("*.whl")} - {wheel.file for wheel in manifest.wheels}
    if strange:
        raise WheelhouseError(f"{folder / min(strange)}: not in {MANIFEST}; remove it or build the wheelhouse anew")
    return manifest


@dataclass(frozen=True)
class WheelhouseArgs:
    """The bucket that receives the wheels, and the local folder that holds them (see `load`)."""

    naming: Naming
    bucket: pulumi.Input[str]
    folder: Path


class Wheelhouse(pulumi.ComponentResource):
    """The objects `wheelhouse/<hash>/<file>`, the manifest after all others.

    An object is never deleted with its resource (`retain_on_delete`): a launch template of yesterday names the prefix
    of yesterday, and an instance that boots from it while an update runs must still find its wheels. A lifecycle rule
    cannot tell a prefix in use from one that is not, so old prefixes stay until someone removes them, or the bucket.
    """

    prefix: str
    content_hash: str
    manifest_object: aws.s3.BucketObjectv2

    def __init__(self, name: str, args: WheelhouseArgs, opts: pulumi.ResourceOptions | None = None):
        super().__init__("receipts:infra:Wheelhouse", name, None, opts)
        manifest = load(args.folder)
        self.content_hash = manifest.hash
        self.prefix = f"wheelhouse/{manifest.hash}"
        wheels = [
            self._object(f"{name}-{wheel.name}", args, wheel.file, wheel.sha256, after=[]) for wheel in manifest.wheels
        ]
        digest = file_sha256(args.folder / MANIFEST)
        self.manifest_object = self._object(f"{name}-manifest", args, MANIFEST, digest, after=wheels)
        self.register_outputs({"prefix": self.prefix, "contentHash": self.content_hash})

    def _object(
        self, logical: str, args: WheelhouseArgs, file: str, digest: str, after: list[aws.s3.BucketObjectv2]
    ) -> aws.s3.BucketObjectv2:
        return aws.s3.BucketObjectv2(
            logical,
            bucket=args.bucket,
            key=f"{self.prefix}/{file}",
            source=pulumi.FileAsset(str(args.folder / file)),
            source_hash=digest,
            content_type="application/json" if file == MANIFEST else "application/octet-stream",
            server_side_encryption="AES256",
            opts=pulumi.ResourceOptions(parent=self, depends_on=after, retain_on_delete=True),
        )
