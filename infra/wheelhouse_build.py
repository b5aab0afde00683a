"""Build the wheelhouse: `python -m infra.wheelhouse_build`, or `pulumi up` when the sources have none yet."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pulumi
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename

from infra.settings import WheelhouseSettings
from infra.wheel_closure import Needed, Pins, requirements_of
from infra.wheel_repack import repack
from infra.wheelhouse import MANIFEST, Manifest, Wheel, WheelhouseError, file_sha256, load

EXTRAS = ("train", "report", "vl")
"""What an instance installs of the trainer besides its base."""

_FORMAT = 1  # raise it when this builder would make other wheels of the same sources
_BACKEND = "setuptools==84.2.1"  # another version may write other metadata
_FROM_SOURCE = frozenset({canonicalize_name("seqeval")})  # pure Python, published without a wheel
# Amazon Linux 2023 has glibc 2.34.
_PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(34, 16, -1)),
    *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64", "any"),
)


def build(
    repository: Path,
    python_version: str,
    cache: Path,
    extras: Sequence[str] = EXTRAS,
    report: Callable[[str], None] = pulumi.log.info,
) -> Path:
    """The folder under `cache` with the wheelhouse of these sources for `python_version` ("3.12"), built if not there.

    It is filled beside its place and moved there whole, so that two builds at once, or one that is killed, do no harm.
    Torch and what torch alone needs are left out: the parent image brings them. Raises WheelhouseError (a ValueError).
    """
    key = inputs_key(repository, python_version, extras)
    folder = cache / key[:16]
    if (folder / MANIFEST).is_file():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    report(f"wheelhouse: building {folder} for Python {python_version}; it is kept for the next time")
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=cache) as scratch:
        filled = Path(scratch) / "wheels"
        filled.mkdir()
        manifest = _fill(filled, Path(scratch), repository, python_version, extras, report)
        if inputs_key(repository, python_version, extras) != key:
            raise WheelhouseError("wheelhouse: the trainer's sources changed while it was built; run this again")
        (filled / MANIFEST).write_text(manifest.text(), encoding="utf-8")
        try:
            filled.rename(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():
                raise
    size_mb = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    report(f"wheelhouse: {len(manifest.wheels)} wheels, {size_mb:.0f} MB, hash {manifest.hash[:16]}")
    return folder


def chosen_folder(repository: Path, python_version: str, path: str = "") -> Path:
    """The wheelhouse that the configuration asks for: the ready one at `path`, or with "" the one in `.wheelhouse/`.

    Raises WheelhouseError when there is none at `path`, or one for another Python.
    """
    if not path:
        return build(repository, python_version, repository / ".wheelhouse")
    folder = repository / path
    found = load(folder).python
    if found != python_version:
        raise WheelhouseError(
            f"wheelhouse.path: {folder} is for Python {found}, wheelhouse.python_version is {python_version}; "
            'change one of them, or set wheelhouse.path to ""'
        )
    return folder


def inputs_key(repository: Path, python_version: str, extras: Sequence[str] = EXTRAS) -> str:
    """Hex sha256 over all that decides a wheelhouse: sources, metadata, pins, Python, extras, this builder's format."""
    digest = hashlib.sha256(f"{_FORMAT} {_BACKEND} {python_version} {sorted(extras)}".encode())
    for path in _inputs(repository):
        name = path.relative_to(repository).as_posix()
        digest.update(f"\n{name} {file_sha256(path)}".encode())
    return digest.hexdigest()


def _inputs(repository: Path) -> Iterator[Path]:
    trainer = repository / "trainer"
    yield from (trainer / "constraints.txt", trainer / "pyproject.toml")
    for path in sorted((trainer / "src").rglob("*")):
        parts = path.relative_to(trainer).parts
        made = any(part == "__pycache__" or part.endswith(".egg-info") or part.startswith(".") for part in parts)
        if path.is_file() and not made:
            yield path


def _fill(
    folder: Path, scratch: Path, repository: Path, python: str, extras: Sequence[str], report: Callable[[str], None]
) -> Manifest:
    pins = Pins.read(repository / "trainer" / "constraints.txt")
    trainer = canonicalize_name("receipt-trainer")
    names = {trainer: _build_trainer(folder, scratch, repository, report)}
    needed = Needed(pins, python)
    todo = needed.add(requirements_of(names[trainer]), set(extras), trainer)
    while todo:
        missing = todo - names.keys()
        if missing:
            report(f"wheelhouse: fetching {len(missing)} wheels: {', '.join(sorted(missing))}")
            names |= _fetch(missing, pins, folder, scratch, python)
        todo = {more for name in todo for more in needed.add(requirements_of(names[name]), needed.extras[name], name)}
    return Manifest.of(python, (_entry(path) for path in names.values()))


def _entry(path: Path) -> Wheel:
    name, version, *_ = parse_wheel_filename(path.name)
    return Wheel(file=path.name, sha256=file_sha256(path), name=name, version=str(version))


def _build_trainer(folder: Path, scratch: Path, repository: Path, report: Callable[[str], None]) -> Path:
    report("wheelhouse: building the trainer's wheel")
    source = scratch / "trainer"
    for path in _inputs(repository):
        copy = source / path.relative_to(repository / "trainer")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return _build_wheel(str(source), folder, scratch)


def _build_wheel(source: str, folder: Path, scratch: Path) -> Path:
    """A pure wheel of a source folder or of a pinned sdist, with bytes that do not depend on this machine."""
    made = Path(tempfile.mkdtemp(dir=scratch))
    _pip("wheel", ["--no-deps", "--no-cache-dir", "--wheel-dir", str(made), source], scratch)
    (wheel,) = made.glob("*.whl")
    if not wheel.name.endswith("-none-any.whl"):
        raise WheelhouseError(f"{wheel.name}: built here, it fits this machine only; pin a version that has a wheel")
    repack(wheel)
    return wheel.rename(folder / wheel.name)


def _fetch(
    wanted: set[NormalizedName], pins: Pins, folder: Path, scratch: Path, python: str
) -> dict[NormalizedName, Path]:
    reused = _reuse(wanted - _FROM_SOURCE, pins, folder, python)
    ready = sorted(f"{name}=={pins.versions[name]}" for name in wanted - _FROM_SOURCE - reused)
    if ready:
        platforms = [f"--platform={platform}" for platform in _PLATFORMS]
        target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *platforms]
        _pip("download", ["--no-deps", *target, "--dest", str(folder), *ready], scratch)
    for name in wanted & _FROM_SOURCE:
        _build_wheel(f"{name}=={pins.versions[name]}", folder, scratch)
    found = {parse_wheel_filename(path.name)[0]: path for path in folder.glob("*.whl")}
    return {name: found[name] for name in wanted}


def _reuse(wanted: set[NormalizedName], pins: Pins, folder: Path, python: str) -> set[NormalizedName]:
    """Names of the wheels that an earlier wheelhouse beside this one has: an edit of the trainer fetches nothing."""
    found: set[NormalizedName] = set()
    for path in sorted(folder.parents[1].glob(f"*/{MANIFEST}")):
        earlier = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
        for wheel in earlier.wheels if earlier.python == python else ():
            name, file = canonicalize_name(wheel.name), path.parent / wheel.file
            pinned = name in wanted - found and wheel.version == pins.versions[name]
            if pinned and file.is_file() and file_sha256(file) == wheel.sha256:
                _link(file, folder / wheel.file)
                found.add(name)
    return found


def _link(source: Path, target: Path) -> None:
    """The same wheel in one more wheelhouse, without its bytes a second time where the file system can do that."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _pip(command: str, arguments: Sequence[str], scratch: Path) -> None:
    constraint = scratch / "backend.txt"
    constraint.write_text(_BACKEND + "\n", encoding="utf-8")
    # Old pips take the pins of a build's own environment from the first variable, newer ones from the second.
    pinned = {"PIP_CONSTRAINT": str(constraint), "PIP_BUILD_CONSTRAINT": str(constraint)}
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, *quiet, *arguments],
        env={**os.environ, **pinned, "SOURCE_DATE_EPOCH": "315532800", "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()
        why = " ".join(errors[-2:]) or f"exit status {done.returncode}"
        raise WheelhouseError(f"wheelhouse: pip {command} failed: {why}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Build into `.wheelhouse/` of this repository and print the folder."""
    parser = argparse.ArgumentParser(description="Build the wheelhouse that instances install from.")
    default = WheelhouseSettings().python_version
    parser.add_argument("--python", default=default, metavar="3.x", help="Python of the parent image [%(default)s]")
    chosen = parser.parse_args(arguments)
    repository = Path(__file__).resolve().parents[1]

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        print(build(repository, chosen.python, repository / ".wheelhouse", report=say))
    except WheelhouseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
