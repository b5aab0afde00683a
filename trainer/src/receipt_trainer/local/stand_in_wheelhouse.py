"""A wheelhouse without wheels worth installing: nothing boots on the embedded AWS, so nothing need be downloaded."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

PYTHONS: Final = ("3.12", "3.13")
"""Pythons of the stack's wheelhouse by default."""

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the same bytes every time


def stand_in(folder: Path, pythons: Sequence[str] = PYTHONS) -> None:
    """Write a wheelhouse of empty wheels, for the Python versions `pythons`, that the stack takes for a ready one.

    It has the objects of a real one: an archive for all Pythons, one for each of several, and the trainer's wheel.
    """
    versions = sorted(pythons)
    groups = [versions, *([one] for one in versions if len(versions) > 1)]
    trainer = _wheel("receipt_trainer")
    objects, wheels = [], [_entry("receipt_trainer", trainer, versions)]
    digest = wheels[0]["sha256"]
    objects.append(_stored(folder, f"trainer/{digest}/{wheels[0]['file']}", trainer, versions))
    for group in groups:
        name = f"nothing_{'_'.join(group)}".replace(".", "")
        wheel = _wheel(name)
        wheels.append(_entry(name, wheel, group))
        archive = _archive(str(wheels[-1]["file"]), wheel)
        objects.append(_stored(folder, f"archives/{hashlib.sha256(archive).hexdigest()}.tar", archive, group))
    rest = {
        "pythons": versions,
        "objects": sorted(objects, key=lambda one: str(one["key"])),
        "wheels": sorted(wheels, key=lambda one: str(one["file"])),
    }
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    manifest = {"hash": hashlib.sha256(text.encode()).hexdigest()} | rest
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _wheel(name: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 0\n"
        archive.writestr(zipfile.ZipInfo(f"{name}-0.dist-info/METADATA", _EPOCH), metadata)
    return made.getvalue()


def _archive(file: str, wheel: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo(file)
        entry.size = len(wheel)
        archive.addfile(entry, io.BytesIO(wheel))
    return made.getvalue()


def _entry(name: str, wheel: bytes, pythons: Sequence[str]) -> dict[str, Any]:
    digest = hashlib.sha256(wheel).hexdigest()
    file = f"{name}-0-py3-none-any.whl"
    return {"sha256": digest, "pythons": list(pythons), "file": file, "name": name.replace("_", "-"), "version": "0"}


def _stored(folder: Path, key: str, data: bytes, pythons: Sequence[str]) -> dict[str, Any]:
    (folder / key.rpartition("/")[2]).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return {"sha256": digest, "pythons": list(pythons), "key": key, "size": len(data)}
