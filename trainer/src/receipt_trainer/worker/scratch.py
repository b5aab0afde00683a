"""A folder for the files between a worker and its training processes; the next worker removes that of a killed one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

PREFIX: Final = "receipt-trainer-worker-"
LOCK: Final = ".lock"
OLD_S: Final = 86_400.0
"""Files whose owner cannot be known are left alone for so long; a process that lives writes its progress more often."""


class Scratch:
    """The folder of one worker, locked for as long as its process lives; only its user can read it.

    What workers left that are gone is removed first. OSError: it cannot be made.
    """

    def __init__(self, root: Path | None = None) -> None:
        root = root or Path(tempfile.gettempdir())
        clean(root)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        # Under its name only once it is locked: no other process finds it free before.
        self._lock = os.open(self.path / f"{LOCK}.new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        (self.path / f"{LOCK}.new").rename(self.path / LOCK)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def clean(root: Path) -> None:
    """Remove the folders of workers that are gone, and the files that version 0.1.0 left, of this user alone."""
    with suppress(OSError):
        for path in root.glob(f"{PREFIX}*"):
            if _is_own(path) and path.is_dir() and _is_left(path):
                shutil.rmtree(path, ignore_errors=True)
        for path in root.glob("receipt-trainer-*.job.json"):
            pair = [path, path.with_suffix(".progress")]
            if _is_own(path) and all(_is_old(one) for one in pair if one.exists()):
                for one in pair:
                    one.unlink(missing_ok=True)


def _is_own(path: Path) -> bool:
    return not path.is_symlink() and path.lstat().st_uid == os.getuid()


def _is_old(path: Path) -> bool:
    return time.time() - path.lstat().st_mtime > OLD_S


def _is_left(folder: Path) -> bool:
    """Whether its worker is gone: the system let go of its lock."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _is_old(folder)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
