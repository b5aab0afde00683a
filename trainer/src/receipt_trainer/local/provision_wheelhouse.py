"""A wheelhouse without wheels worth installing: nothing boots on the embedded AWS, so nothing need be downloaded."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Final

_FILE: Final = "receipt_trainer-0-py3-none-any.whl"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the same bytes every time


def stand_in(folder: Path, python: str) -> None:
    """Write a wheelhouse of one empty wheel, for the Python version `python`, that the stack takes for a ready one."""
    wheel = folder / _FILE
    with zipfile.ZipFile(wheel, "w") as archive:
        metadata = "Metadata-Version: 2.1\nName: receipt-trainer\nVersion: 0\n"
        archive.writestr(zipfile.ZipInfo("receipt_trainer-0.dist-info/METADATA", _EPOCH), metadata)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    contents = hashlib.sha256(f"python {python}\n{_FILE}  {digest}\n".encode()).hexdigest()
    entry = {"file": _FILE, "sha256": digest, "name": "receipt-trainer", "version": "0"}
    manifest = {"hash": contents, "python": python, "wheels": [entry]}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
