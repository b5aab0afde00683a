"""The last two packages of a pointer on disk, shared by all processes of a machine; none is removed that one uses."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Final

from filelock import FileLock, Timeout

from receipt_trainer.contract.package import MANIFEST_FILE
from receipt_trainer.contract.pointer import PromotedModel
from receipt_trainer.errors import WorldError
from receipt_trainer.inference.model_place import cache_folder, download

KEPT: Final = 2
"""Packages of a pointer that stay: the one in force, and the one that a rollback brings back."""
_CHANGES: Final = ".changes.lock"
_IN_USE: Final = ".in-use"
_WAIT_S: Final = 900.0
"""Until another process has downloaded its package."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A package on disk; one in the cache stays there until the lease is closed."""

    folder: Path
    _held: IO[bytes] | None = None

    def close(self) -> None:
        """Let the folder go."""
        if self._held is not None:
            self._held.close()


class ModelCache:
    """The packages of one pointer."""

    def __init__(self, pointer_uri: str, root: Path | None = None) -> None:
        """Name the folder; nothing is written yet.

        Args:
            root: of all caches; by default where `read` keeps its models.
        """
        self.folder = (root or cache_folder()) / "served" / sha256(pointer_uri.encode()).hexdigest()[:32]

    def lease(self, model: PromotedModel) -> Lease:
        """The package, downloaded if it is not there.

        Raises:
            NoPackageError, DamagedPackageError: what lies in S3 is not the package that was promoted.
            UserError, WorldError: S3 or the disk refuses it.
        """
        with self._changing():
            folder = download(model.package, self.folder, manifest_sha256=model.manifest_sha256)
            held = (folder / _IN_USE).open("ab")
            fcntl.flock(held, fcntl.LOCK_SH)  # whoever would remove it changes nothing meanwhile
            os.utime(folder)
        return Lease(folder, held)

    def tidy(self) -> None:
        """Remove what downloads that were killed have left, and all packages but the last two and those in use.

        Raises:
            WorldError: the disk refuses it.
        """
        with self._changing():
            places = [place for place in self.folder.iterdir() if place.is_dir()]
            whole = [place for place in places if (place / MANIFEST_FILE).is_file() and not place.name.startswith(".")]
            whole.sort(key=lambda place: place.stat().st_mtime_ns, reverse=True)
            for place in places:
                if place not in whole:
                    shutil.rmtree(place, ignore_errors=True)
            for place in whole[KEPT:]:
                _remove_unused(place)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """As the only one who adds and removes packages."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / _CHANGES, timeout=_WAIT_S):
                yield
        except Timeout:
            raise WorldError(f"{self.folder}: another process has been downloading for {_WAIT_S:g} s") from None
        except OSError as error:
            raise WorldError(f"{self.folder}: the model cannot be kept there: {error.strerror or error}") from None


def _remove_unused(folder: Path) -> None:
    with (folder / _IN_USE).open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # the next one who tidies will find it unused
        shutil.rmtree(folder, ignore_errors=True)
