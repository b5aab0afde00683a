"""Which wheels an instance needs: the closure of the trainer's requirements, computed by uv for Linux x86_64.

uv evaluates markers for the instance's platform and Python on any laptop; torch, which the parent image brings, and
what torch alone needs are left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from infra.wheelhouse.manifest import WheelhouseError

PROVIDED = ("torch", "setuptools")
"""Packages of the parent image: torch, and setuptools because torch asks for it."""

FROM_SOURCE = frozenset({canonicalize_name("seqeval")})
"""Pure Python that is published without a wheel; it is built here."""

GLIBC_MINOR = 34
"""Amazon Linux 2023 has glibc 2.34 (Amazon Linux 2023 User Guide, "Comparing AL2 and AL2023")."""

PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(GLIBC_MINOR, 16, -1)),
    *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"),
)
"""Platform tags that fit, the best first."""


@dataclass(frozen=True)
class Pinned:
    """One distribution of a closure and the file to install for it.

    `file` and `sha256` are those of the wheel that fits best, "" for one that is built from source; `size` is in
    bytes, 0 if the index does not tell.
    """

    name: NormalizedName
    version: str
    file: str = ""
    sha256: str = ""
    size: int = 0


def read_pins(path: Path) -> dict[NormalizedName, str]:
    """Pinned versions of a constraints file whose lines are `name==version`; raises WheelhouseError for any other."""
    versions: dict[NormalizedName, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        name, equals, version = text.partition("==")
        if not equals or not version or not name.strip():
            raise WheelhouseError(f"{path}:{number}: {text!r} is not a pin; write name==version")
        versions[canonicalize_name(name.strip())] = version.strip()
    return versions


def resolve(trainer: Path, python: str, extras: Sequence[str], scratch: Path) -> list[Pinned]:
    """The pins that an instance with `python` ("3.13") installs beside the trainer itself, sorted by name.

    `trainer` is the folder of pyproject.toml and constraints.txt. Raises WheelhouseError, of one line, without an
    index, for a requirement without a fitting pin, and for a distribution without a wheel that fits.
    """
    pins = read_pins(trainer / "constraints.txt")
    left_out = scratch / "provided.txt"
    left_out.write_text("".join(f"{name} ; python_version < '0'\n" for name in PROVIDED), encoding="utf-8")
    options = [
        *("--python-version", python, "--python-platform", f"x86_64-manylinux_2_{GLIBC_MINOR}"),
        *("--constraints", str(trainer / "constraints.txt"), "--overrides", str(left_out)),
        *(f"--extra={extra}" for extra in extras),
    ]
    text = _compile([*options, str(trainer / "pyproject.toml")], python)
    packages = tomllib.loads(text).get("packages", [])
    return [pinned(package, pins, python, trainer / "constraints.txt") for package in packages]


def _compile(options: list[str], python: str) -> str:
    """The lock file (PyPA's pylock.toml) that `uv pip compile` prints."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--format=pylock.toml"]
    environment = {"UV_PYTHON_DOWNLOADS": "never", "UV_PYTHON": sys.executable, **os.environ}
    if index := os.environ.get("PIP_INDEX_URL"):
        environment.setdefault("UV_DEFAULT_INDEX", index)
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        why = " ".join(done.stderr.replace("╰─▶", "").replace("×", "").split()) or f"exit status {done.returncode}"
        if "No module named uv" in why:
            why = "uv is not installed; run make setup, or pip install uv"
        raise WheelhouseError(f"wheelhouse: the wheels for Python {python} cannot be worked out: {why}")
    return done.stdout


def pinned(package: Mapping[str, Any], pins: Mapping[NormalizedName, str], python: str, file: Path) -> Pinned:
    """A package of the lock file with the wheel that fits best; raises WheelhouseError, naming the constraints `file`,
    for a pin that is missing or another, and where no wheel fits."""
    name, version = canonicalize_name(package["name"]), str(package["version"])
    if name not in pins:
        raise WheelhouseError(f"{file}: no pin of {name}, which the trainer needs; add {name}=={version}")
    if not _same(version, pins[name]):
        raise WheelhouseError(f"{file}: {name}=={pins[name]}, but the trainer needs {name}=={version}")
    best = _best(package.get("wheels", []), python)
    if best is None:
        if name not in FROM_SOURCE:
            raise WheelhouseError(
                f"{file}: {name}=={version} has no wheel for Python {python} on Linux x86_64 with glibc "
                f"2.{GLIBC_MINOR}; pin a version that has one"
            )
        return Pinned(name, version)
    return Pinned(name, version, _file(best), best["hashes"]["sha256"], best.get("size", 0))


def _same(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _best(wheels: Iterable[Mapping[str, Any]], python: str) -> Mapping[str, Any] | None:
    """The wheel whose best tag comes first, as pip chooses it; None if none fits."""
    major, minor = (int(part) for part in python.split("."))
    tags = [
        *cpython_tags((major, minor), platforms=PLATFORMS),
        *compatible_tags((major, minor), f"cp{major}{minor}", PLATFORMS),
    ]
    order = {tag: place for place, tag in enumerate(tags)}
    found = []
    for wheel in wheels:
        try:
            *_, build, own = parse_wheel_filename(_file(wheel))
        except InvalidWheelFilename:
            continue
        if fitting := [order[tag] for tag in own if tag in order]:
            found.append(
                (min(fitting), tuple(-part for part in build[:1] if isinstance(part, int)), _file(wheel), wheel)
            )
    return min(found, key=lambda one: one[:3])[3] if found else None


def _file(wheel: Mapping[str, Any]) -> str:
    return str(wheel.get("name") or wheel["url"].rpartition("/")[2])
