"""Wheels and archives of wheels with the same bytes wherever they are made."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from infra.wheelhouse.manifest import Stored, file_sha256


def pack(wheels: Iterable[Path], pythons: Iterable[str], folder: Path) -> Stored:
    """A tar of `wheels` in `folder`, called by its sha256.

    Only names and bytes of the wheels decide its bytes: they are sorted, without an owner, dated 1970,
    and not compressed, for wheels are.
    """
    made = folder / "archive.tar"
    with tarfile.open(made, "w", format=tarfile.USTAR_FORMAT) as tar:
        for wheel in sorted(wheels, key=lambda path: path.name):
            entry = tarfile.TarInfo(wheel.name)
            entry.size, entry.mode = wheel.stat().st_size, 0o644
            with wheel.open("rb") as file:
                tar.addfile(entry, file)
    sha256, size = file_sha256(made), made.stat().st_size
    made.rename(folder / f"{sha256}.tar")
    return Stored(key=f"archives/{sha256}.tar", sha256=sha256, size=size, pythons=tuple(sorted(pythons)))


def unpack_some(archive: Path, wanted: set[str], folder: Path) -> None:
    """Write the members called `wanted` into `folder`, where none of that name is there yet.

    An archive that is missing or broken gives what can be read of it.
    """
    try:
        with tarfile.open(archive) as tar:
            for entry in tar:
                target = folder / entry.name
                source = tar.extractfile(entry) if entry.name in wanted and not target.exists() else None
                if source is not None:
                    with source, target.open("wb") as file:
                        shutil.copyfileobj(source, file)
    except (FileNotFoundError, tarfile.TarError):
        return


_EPOCH = (1980, 1, 1, 0, 0, 0)


def repack(wheel: Path) -> None:
    """Rewrite `wheel` in place so that only the contents of its files decide its bytes.

    Times, modes, order and compression differ from machine to machine, and so does the line that names the build
    backend ("Binary distribution format", Python Packaging User Guide). Entries end up sorted and dated 1980, with
    RECORD, which lists the others' hashes, as the last; compressed by bzip2, which has one implementation.
    """
    with zipfile.ZipFile(wheel) as archive:
        entries = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    record = next(name for name in entries if name.endswith(".dist-info/RECORD"))
    about = record.removesuffix("RECORD") + "WHEEL"
    del entries[record]
    entries[about] = re.sub(rb"(?m)^Generator: .*$", b"Generator: receipt-trainer", entries[about])
    ordered = sorted(entries.items())
    rows = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in ordered]
    ordered.append((record, "".join([*rows, f"{record},,\n"]).encode()))
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_BZIP2) as archive:
        for name, data in ordered:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data, zipfile.ZIP_BZIP2)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
