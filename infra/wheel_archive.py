"""Archives of wheels: the same bytes for the same wheels, and read back one wheel at a time."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from infra.wheel_manifest import Stored, file_sha256


def pack(wheels: Iterable[Path], pythons: Iterable[str], folder: Path) -> Stored:
    """A tar of `wheels` in `folder`, called by its sha256.

    Only names and bytes of the wheels decide its bytes: they are sorted, owned by nobody in particular, dated 1970,
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
