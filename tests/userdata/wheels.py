"""A tiny wheelhouse of real wheels, as it lies in S3."""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

_MODULES = ("worker/main.py", "models/layoutlm/family.py", "models/paddleocr_vl/family.py")


def make_wheel(folder: Path, name: str, files: dict[str, str], requires: str = "") -> Path:
    """A pure wheel of version 0.1.0 with these files; `requires` are more lines of its metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-0.1.0-py3-none-any.whl"
    info = f"{name}-0.1.0.dist-info"
    everything = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*everything, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in [*everything.items(), (f"{info}/RECORD", record)]:
            archive.writestr(file, text)
    return path


def make_wheelhouse(folder: Path, content_hash: str, *, build: str = "first") -> None:
    """What lies below `wheelhouse/`: a `receipt_trainer` that knows its build, an archive of what it needs, a manifest.

    An instance takes the hash as it is told; it need not follow from the wheels.
    """
    extras = "".join(
        f"Provides-Extra: {extra}\nRequires-Dist: tiny_{extra}; extra == '{extra}'\n" for extra in ("train", "report")
    )
    made = folder / "made"
    tiny = [make_wheel(made, f"tiny_{extra}", {f"tiny_{extra}.py": ""}) for extra in ("train", "report")]
    modules = {f"receipt_trainer/{name}": "" for name in _MODULES}
    modules |= {f"receipt_trainer/{name.partition('/')[0]}/__init__.py": "" for name in _MODULES}
    modules["receipt_trainer/__init__.py"] = f"BUILD = {build!r}\n"
    trainer = make_wheel(made, "receipt_trainer", modules, extras)
    archive = made / "archive.tar"
    with tarfile.open(archive, "w") as tar:
        for wheel in tiny:
            tar.add(wheel, wheel.name)
    wheels = [
        _part(wheel) | {"file": wheel.name, "name": wheel.name.partition("-")[0], "version": "0.1.0"}
        for wheel in (*tiny, trainer)
    ]
    objects = [
        _stored(folder, archive, f"archives/{_sha256(archive)}.tar"),
        _stored(folder, trainer, f"trainer/{_sha256(trainer)}/{trainer.name}"),
    ]
    for wheel in tiny:
        wheel.unlink()
    made.rmdir()
    manifest = {"hash": content_hash, "pythons": [PYTHON_VERSION], "objects": objects, "wheels": wheels}
    (folder / content_hash).mkdir(parents=True, exist_ok=True)
    (folder / content_hash / "manifest.json").write_text(json.dumps(manifest))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _part(path: Path) -> dict[str, Any]:
    return {"sha256": _sha256(path), "pythons": [PYTHON_VERSION]}


def _stored(folder: Path, path: Path, key: str) -> dict[str, Any]:
    stored = _part(path) | {"key": key, "size": path.stat().st_size}
    (folder / key).parent.mkdir(parents=True, exist_ok=True)
    path.rename(folder / key)
    return stored
