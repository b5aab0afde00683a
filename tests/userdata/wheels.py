"""A tiny wheelhouse of real wheels, and its manifest."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path

PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def _wheel(folder: Path, name: str, code: str, requires: str = "") -> Path:
    path = folder / f"{name}-0.1.0-py3-none-any.whl"
    info = f"{name}-0.1.0.dist-info"
    files = {
        f"{name}/__init__.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in [*files.items(), (f"{info}/RECORD", record)]:
            archive.writestr(file, text)
    return path


def make_wheelhouse(folder: Path, content_hash: str, *, build: str = "first") -> None:
    """A `receipt_trainer` that knows its build, with a dependency of each extra, and manifest.json."""
    folder.mkdir(parents=True, exist_ok=True)
    extras = "".join(
        f"Provides-Extra: {extra}\nRequires-Dist: tiny_{extra}; extra == '{extra}'\n" for extra in ("train", "report")
    )
    wheels = [_wheel(folder, f"tiny_{extra}", "") for extra in ("train", "report")]
    wheels.append(_wheel(folder, "receipt_trainer", f"BUILD = {build!r}\n", extras))
    manifest = {
        "hash": content_hash,
        "python": PYTHON_VERSION,
        "wheels": [
            {
                "file": wheel.name,
                "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
                "name": wheel.name.split("-")[0],
                "version": "0.1.0",
            }
            for wheel in wheels
        ],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
