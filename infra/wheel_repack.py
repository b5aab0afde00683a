"""A wheel's bytes, made the same wherever it was built."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from pathlib import Path

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
