"""The content of a wheelhouse: its manifest, and the check of a local folder against it."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pulumi
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MANIFEST = "manifest.json"
"""Name of the manifest in the folder and under its prefix; written last in both places."""

_SHA256 = "[0-9a-f]{64}"
_FILE = r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl"


class WheelhouseError(pulumi.RunError, ValueError):
    """A wheelhouse that cannot be built or trusted; stops a preview with its one line."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=f"^{_SHA256}$")
    pythons: tuple[str, ...] = Field(min_length=1)


class Wheel(_Part):
    """One wheel: its file name, the distribution's canonical name, its version, and the Pythons it is installed for."""

    file: str = Field(pattern=f"^{_FILE}$")
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)


class Stored(_Part):
    """One object in S3 (a tar of wheels, or the trainer's wheel): key below `wheelhouse/`, size in bytes, Pythons."""

    key: str = Field(pattern=f"^(archives/{_SHA256}\\.tar|trainer/{_SHA256}/{_FILE})$")
    size: int = Field(ge=0)

    @property
    def file(self) -> str:
        """Its name in the local folder."""
        return self.key.rpartition("/")[2]

    @property
    def is_archive(self) -> bool:
        """Whether it is a tar of wheels."""
        return self.key.startswith("archives/")


class Manifest(BaseModel):
    """The content of a wheelhouse, its Pythons ("3.12") and its hash.

    `objects` are sorted by key, `wheels` by file. An instance takes the objects and wheels that name its own Python.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hash: str = Field(pattern=f"^{_SHA256}$")
    pythons: tuple[str, ...] = Field(min_length=1)
    objects: tuple[Stored, ...] = Field(min_length=1)
    wheels: tuple[Wheel, ...] = Field(min_length=1)

    @classmethod
    def of(cls, pythons: Iterable[str], objects: Iterable[Stored], wheels: Iterable[Wheel]) -> Manifest:
        """The manifest of these, sorted, with the hash that follows from them."""
        known: dict[str, Any] = {
            "pythons": tuple(sorted(pythons)),
            "objects": tuple(sorted(objects, key=lambda stored: stored.key)),
            "wheels": tuple(sorted(wheels, key=lambda wheel: wheel.file)),
        }
        return cls(hash=content_hash(**known), **known)

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if self.hash != content_hash(self.pythons, self.objects, self.wheels):
            raise ValueError("hash does not follow from the rest")
        return self

    def text(self) -> str:
        """The JSON that lies in the folder and in S3: the same bytes for the same wheels."""
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"


def content_hash(pythons: Iterable[str], objects: Iterable[Stored], wheels: Iterable[Wheel]) -> str:
    """Hex sha256 over everything else in the manifest, as JSON without spaces and with sorted keys."""
    rest = {
        "pythons": list(pythons),
        "objects": [stored.model_dump(mode="json") for stored in objects],
        "wheels": [wheel.model_dump(mode="json") for wheel in wheels],
    }
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(folder: Path) -> Manifest:
    """The manifest of the wheelhouse in `folder`, after every file was read and compared with it.

    Raises WheelhouseError (a ValueError) that names the file which is missing, strange or changed.
    """
    manifest = read(folder)
    for stored in manifest.objects:
        file = folder / stored.file
        if not file.is_file():
            raise WheelhouseError(f"{file}: missing, but {MANIFEST} lists it; delete the folder, and it is built again")
        if file_sha256(file) != stored.sha256:
            raise WheelhouseError(f"{file}: its sha256 is not the one in {MANIFEST}; delete the folder")
    for python in manifest.pythons:
        # An instance with this Python refuses what is not the same in the objects and in the list; so does this.
        listed = {wheel.file for wheel in manifest.wheels if python in wheel.pythons}
        there = {name for stored in manifest.objects if python in stored.pythons for name in _names(folder, stored)}
        if listed != there:
            raise WheelhouseError(f"{folder}: {min(listed ^ there)} is not both in {MANIFEST} and in an object of it")
    return manifest


def read(folder: Path) -> Manifest:
    """The manifest in `folder`, without a look at the other files; raises WheelhouseError, by its path."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WheelhouseError(f"{path}: {error.strerror}; delete the folder, and it is built again") from error
    except (ValidationError, UnicodeDecodeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise WheelhouseError(f"{path}: not a manifest of a wheelhouse: {reason}; delete the folder") from error


def _names(folder: Path, stored: Stored) -> list[str]:
    """The wheels in an object."""
    if not stored.is_archive:
        return [stored.file]
    try:
        with tarfile.open(folder / stored.file) as tar:
            return tar.getnames()
    except tarfile.TarError as error:
        raise WheelhouseError(f"{folder / stored.file}: not a tar archive: {error}") from error
