"""The wheels of a closure in one folder: taken from earlier wheelhouses, downloaded by pip, or built from source."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from infra.wheelhouse.archive import repack, unpack_some
from infra.wheelhouse.closure import PLATFORMS, Pinned
from infra.wheelhouse.manifest import WheelhouseError, file_sha256, read

BACKEND = "setuptools==84.2.1"
"""The build backend of wheels; another version may write other metadata."""

_MANY, _MUCH = 20, 40_000_000  # wheels and bytes in one call of pip: after each there is a line of progress


def fetch(
    wanted: Mapping[str, Sequence[Pinned]],
    folder: Path,
    scratch: Path,
    earlier: Sequence[Path],
    report: Callable[[str], None],
) -> dict[str, set[str]]:
    """Bring into `folder` every wheel that is wanted for some Python; the names of these files for each Python.

    `earlier` are folders of wheelhouses, whose wheels need not be fetched again. Raises WheelhouseError, of one line,
    where pip fails.
    """
    files = {pinned.file: (pinned, python) for python, those in wanted.items() for pinned in those if pinned.file}
    sources = {pinned for those in wanted.values() for pinned in those if not pinned.file}
    built = _reuse({file: pinned.sha256 for file, (pinned, _) in files.items()}, sources, folder, earlier)
    missing = [entry for file, entry in files.items() if not (folder / file).is_file()]
    _download_all(missing, len(files), folder, scratch, report)
    for pinned in sorted(sources - built.keys(), key=lambda one: one.name):
        report(f"wheelhouse: building {pinned.name} from source")
        built[pinned] = build_wheel(f"{pinned.name}=={pinned.version}", folder, scratch).name
    return {python: {pinned.file or built[pinned] for pinned in those} for python, those in wanted.items()}


def _download_all(
    missing: list[tuple[Pinned, str]], num_files: int, folder: Path, scratch: Path, report: Callable[[str], None]
) -> None:
    total_mb = sum(pinned.size for pinned, _ in missing) / 1e6
    size = f", {total_mb:.0f} MB" if total_mb else ""
    if missing:
        report(f"wheelhouse: {num_files} wheels, of which {len(missing)} are fetched{size}")
    done, done_mb = 0, 0.0
    for batch, python in _batches(missing):
        _download(batch, python, folder, scratch)
        done += len(batch)
        done_mb += sum((folder / pinned.file).stat().st_size for pinned in batch) / 1e6
        so_far = f"{done_mb:.0f} of {total_mb:.0f} MB" if total_mb else f"{done_mb:.0f} MB"
        report(f"wheelhouse: fetched {done} of {len(missing)} wheels, {so_far}")


def build_wheel(source: str, folder: Path, scratch: Path) -> Path:
    """A pure wheel of a source folder or of a pinned sdist, with bytes that do not depend on this machine."""
    made = Path(tempfile.mkdtemp(dir=scratch))
    _pip("wheel", ["--no-deps", "--no-cache-dir", "--wheel-dir", str(made), source], scratch)
    (wheel,) = made.glob("*.whl")
    if not wheel.name.endswith("-none-any.whl"):
        raise WheelhouseError(f"{wheel.name}: built here, it fits this machine only; pin a version that has a wheel")
    repack(wheel)
    return wheel.rename(folder / wheel.name)


def _reuse(wanted: Mapping[str, str], sources: set[Pinned], folder: Path, earlier: Sequence[Path]) -> dict[Pinned, str]:
    """Take over wheels (file name and sha256) that earlier wheelhouses have; the files of `sources` among them."""
    built: dict[Pinned, str] = {}
    sums = dict(wanted)
    for house in earlier:
        manifest = read(house)
        for wheel, pinned in ((wheel, pinned) for wheel in manifest.wheels for pinned in sources - built.keys()):
            if (wheel.name, wheel.version) == (pinned.name, pinned.version):
                built[pinned], sums[wheel.file] = wheel.file, wheel.sha256
        here = {wheel.file for wheel in manifest.wheels if sums.get(wheel.file) == wheel.sha256}
        for stored in manifest.objects:
            if stored.is_archive:
                unpack_some(house / stored.file, here, folder)
    for file in [file for file in folder.iterdir() if sums.get(file.name) != file_sha256(file)]:
        file.unlink()
    return {pinned: file for pinned, file in built.items() if (folder / file).is_file()}


def _batches(missing: list[tuple[Pinned, str]]) -> Iterator[tuple[list[Pinned], str]]:
    """Portions for one Python each, as pip takes them."""
    for python in sorted({python for _, python in missing}):
        batch: list[Pinned] = []
        for pinned in (pinned for pinned, own in missing if own == python):
            batch.append(pinned)
            if len(batch) == _MANY or sum(one.size for one in batch) > _MUCH:
                yield batch, python
                batch = []
        if batch:
            yield batch, python


def _download(batch: list[Pinned], python: str, folder: Path, scratch: Path) -> None:
    """Hashes are given with the names, so that what comes is what uv chose."""
    listed = scratch / "wanted.txt"
    listed.write_text("".join(f"{one.name}=={one.version} --hash=sha256:{one.sha256}\n" for one in batch), "utf-8")
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *platforms]
    _pip("download", ["--no-deps", "--require-hashes", *target, "--dest", str(folder), "-r", str(listed)], scratch)
    for one in batch:
        if not (folder / one.file).is_file():
            raise WheelhouseError(f"wheelhouse: pip did not fetch {one.file}; is its index another one than uv's?")


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
