"""Build the wheelhouse: `python -m infra.wheelhouse.build`, or `pulumi up` when the sources have none yet."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pulumi
from packaging.utils import canonicalize_name, parse_wheel_filename

from infra.setting_groups import PYTHON_VERSIONS, WheelhouseSettings
from infra.wheelhouse.archive import pack
from infra.wheelhouse.closure import BACKEND, GLIBC_MINOR, PROVIDED, build_wheel, fetch, resolve
from infra.wheelhouse.manifest import MANIFEST, Manifest, Stored, Wheel, WheelhouseError, file_sha256, read
from receipt_trainer.contract.names import WEIGHTS_PACKAGE

EXTRAS = ("train", "report", "vl")
"""Extras of the trainer that an instance installs."""

TRAINER = canonicalize_name("receipt-trainer")

_FORMAT = 2  # raise it when this builder would make other wheels or archives of the same sources
_KEY = 16


def build(
    repository: Path,
    pythons: Sequence[str],
    cache: Path,
    extras: Sequence[str] = EXTRAS,
    report: Callable[[str], None] = pulumi.log.info,
) -> Path:
    """The folder under `cache` with the wheelhouse of these sources for `pythons` ("3.12"), built if not there.

    It is filled beside its place and moved there whole, so that two builds at once, or one that is killed, do no harm.
    Archives of an earlier build with the same pins are taken over. Torch and what torch alone needs are left out: the
    parent image brings them. Raises WheelhouseError (a ValueError).
    """
    wanted = sorted(pythons)
    key = _key(repository, wanted, extras)
    folder = cache / key
    if (folder / MANIFEST).is_file():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    report(f"wheelhouse: building it for Python {' and '.join(wanted)} in {folder}; it is kept for the next time")
    with tempfile.TemporaryDirectory(prefix="building.", dir=cache) as scratch:
        filled = Path(scratch) / "house"
        filled.mkdir()
        work = _Work(repository / "trainer", tuple(wanted), extras, filled, Path(scratch), cache, report)
        manifest = work.manifest(dependencies=key.partition("-")[0])
        if _key(repository, wanted, extras) != key:
            raise WheelhouseError("wheelhouse: the trainer's sources changed while it was built; run this again")
        (filled / MANIFEST).write_text(manifest.text(), encoding="utf-8")
        try:
            filled.rename(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():
                raise
    size_mb = sum(stored.size for stored in manifest.objects) / 1e6
    report(f"wheelhouse: {len(manifest.wheels)} wheels, {size_mb:.0f} MB, hash {manifest.hash[:_KEY]}")
    return folder


def chosen_folder(repository: Path, pythons: Sequence[str], path: str = "") -> Path:
    """The wheelhouse that the configuration asks for: the ready one at `path`, or with "" the one in `.wheelhouse/`.

    Raises WheelhouseError when there is none at `path`, or one that lacks a Python.
    """
    if not path:
        return build(repository, pythons, repository / ".wheelhouse")
    folder = repository / path
    found = read(folder).pythons
    if not set(pythons) <= set(found):
        raise WheelhouseError(
            f"wheelhouse.path: {folder} is for Python {' and '.join(found)}, wheelhouse.python_versions asks for "
            f'{" and ".join(pythons)}; change one of them, or set wheelhouse.path to ""'
        )
    return folder


def dependencies_key(repository: Path, pythons: Sequence[str], extras: Sequence[str] = EXTRAS) -> str:
    """Hex sha256 over all that decides the archives: metadata, pins, Pythons, extras, this builder's format."""
    trainer = repository / "trainer"
    about = f"{_FORMAT} {BACKEND} {GLIBC_MINOR} {PROVIDED} {WEIGHTS_PACKAGE} {sorted(pythons)} {sorted(extras)}"
    return _digest(about, trainer, (trainer / "constraints.txt", trainer / "pyproject.toml"))


def trainer_key(repository: Path) -> str:
    """Hex sha256 over all that decides the trainer's own wheel."""
    return _digest(f"{_FORMAT} {BACKEND}", repository / "trainer", _sources(repository / "trainer"))


def _key(repository: Path, pythons: Sequence[str], extras: Sequence[str]) -> str:
    return f"{dependencies_key(repository, pythons, extras)[:_KEY]}-{trainer_key(repository)[:_KEY]}"


def _digest(about: str, trainer: Path, paths: Iterable[Path]) -> str:
    digest = hashlib.sha256(about.encode())
    for path in paths:
        digest.update(f"\n{path.relative_to(trainer).as_posix()} {file_sha256(path)}".encode())
    return digest.hexdigest()


def _sources(trainer: Path) -> Iterator[Path]:
    yield trainer / "pyproject.toml"
    for path in sorted((trainer / "src").rglob("*")):
        parts = path.relative_to(trainer).parts
        made = any(part == "__pycache__" or part.endswith(".egg-info") or part.startswith(".") for part in parts)
        if path.is_file() and not made:
            yield path


@dataclass(frozen=True)
class _Work:
    """One build: the trainer's sources, what is wanted, the folder to fill, room beside it, earlier wheelhouses."""

    trainer: Path
    pythons: tuple[str, ...]
    extras: Sequence[str]
    folder: Path
    scratch: Path
    cache: Path
    report: Callable[[str], None]

    def manifest(self, dependencies: str) -> Manifest:
        """Fill the folder; `dependencies` begins the names of the folders with the same archives."""
        self.report("wheelhouse: building the trainer's wheel")
        source = self.scratch / "trainer"
        for path in _sources(self.trainer):
            copy = source / path.relative_to(self.trainer)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        own = _wheel(build_wheel(str(source), self.folder, self.scratch), self.pythons)
        size, key = (self.folder / own.file).stat().st_size, f"trainer/{own.sha256}/{own.file}"
        trainer = Stored(key=key, sha256=own.sha256, size=size, pythons=self.pythons)
        archives, wheels = self._taken_over(dependencies) or self._archived()
        return Manifest.of(self.pythons, [trainer, *archives], [own, *wheels])

    def _taken_over(self, dependencies: str) -> tuple[list[Stored], list[Wheel]] | None:
        """Archives of an earlier wheelhouse with the same pins; None if no complete one exists."""
        for house in sorted(self.cache.glob(f"{dependencies}-*/{MANIFEST}")):
            manifest = read(house.parent)
            archives = {house.parent / stored.file: stored for stored in manifest.objects if stored.is_archive}
            if all(file.is_file() and file_sha256(file) == stored.sha256 for file, stored in archives.items()):
                for file in archives:
                    _link(file, self.folder / file.name)
                return [*archives.values()], [wheel for wheel in manifest.wheels if wheel.name != TRAINER]
        return None

    def _archived(self) -> tuple[list[Stored], list[Wheel]]:
        earlier = sorted(manifest.parent for manifest in self.cache.glob(f"*-*/{MANIFEST}"))
        paths: dict[str, Path] = {}
        pythons: dict[str, tuple[str, ...]] = {}
        for python in self.pythons:
            pool = self.scratch / python
            pool.mkdir()
            wanted = resolve(self.trainer, python, self.extras, self.scratch)
            for path in fetch(wanted, python, pool, self.scratch, earlier, self.report):
                paths[path.name] = path
                pythons[path.name] = (*pythons.get(path.name, ()), python)
        archives = []
        for group in dict.fromkeys([self.pythons, *((python,) for python in self.pythons)]):
            if own := [paths[name] for name, fits in pythons.items() if fits == group]:
                archives.append(pack(own, group, self.folder))
        return archives, [_wheel(path, pythons[name]) for name, path in paths.items()]


def _wheel(path: Path, pythons: tuple[str, ...]) -> Wheel:
    name, version, *_ = parse_wheel_filename(path.name)
    return Wheel(file=path.name, sha256=file_sha256(path), pythons=pythons, name=name, version=str(version))


def _link(source: Path, target: Path) -> None:
    """The same archive in one more wheelhouse, without its bytes a second time where the file system can do that."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build into `.wheelhouse/` of this repository, or another folder, and print the folder."""
    parser = argparse.ArgumentParser(description="Build the wheelhouse that instances install from.")
    repository, default = Path(__file__).resolve().parents[2], list(WheelhouseSettings().python_versions)
    text = f"Pythons to build for [{' '.join(default)}]"
    parser.add_argument("--python", nargs="+", choices=PYTHON_VERSIONS, default=default, metavar="3.x", help=text)
    parser.add_argument("--cache", type=Path, default=repository / ".wheelhouse", help="where to build [.wheelhouse]")
    chosen = parser.parse_args(arguments)
    say = partial(print, file=sys.stderr, flush=True)
    try:
        print(build(repository, chosen.python, chosen.cache, report=say))
    except WheelhouseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
