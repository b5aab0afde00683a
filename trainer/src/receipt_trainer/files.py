"""Files and folders that are there complete or not at all."""

from __future__ import annotations

import errno
import gzip
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Final

from receipt_trainer.errors import UserError, WorldError

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of a disk, a quota or a limit that is used up."""
_ROOM: Final = 50_000_000
"""Bytes that are asked for where nobody knows how many are to come."""


def disk_full(path: str | Path, needed: int = 0) -> WorldError:
    """Say how much room is missing where `needed` bytes more are to be written below `path`; 0: not known."""
    place = next(one for one in (Path(path).absolute(), *Path(path).absolute().parents) if one.is_dir())
    missing = max(1, math.ceil(((needed or _ROOM) - shutil.disk_usage(place).free) / 1e6))
    return WorldError(f"{path}: disk full; free {missing} MB and run the same command")


_GZIP = b"\x1f\x8b"


def open_text(path: Path, mode: str = "r") -> IO[str]:
    """Open a text file, through gzip if it is called *.gz; a byte-order mark at its beginning is not read."""
    encoding = "utf-8-sig" if mode == "r" else "utf-8"
    if path.suffix == ".gz":
        return gzip.open(path, f"{mode}t", encoding=encoding)  # type: ignore[return-value]
    return path.open(mode, encoding=encoding)


def refuse_stream(path: Path) -> None:
    """UserError: a pipe or device, which commands that look at a file before they read it would take for empty."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{path}: a pipe or a device can be read only once: a file is needed")


def open_bytes(path: Path) -> BufferedReader | gzip.GzipFile:
    """Open a file to read it, through gzip if it is called *.gz or begins as such files do."""
    stream = path.open("rb")
    if path.suffix != ".gz" and stream.peek(2)[:2] != _GZIP:
        return stream
    stream.close()
    return gzip.open(path)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, flush to disk, rename over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """A stream that becomes `path` when the block ends without an error; gzipped if it is called *.gz.

    Raises:
        UserError: it cannot be written there.
        WorldError: the disk is full.
    """
    target = path.resolve()  # a link stays one: what it points to is replaced
    if target.exists() and not target.is_file() and not target.is_dir():
        with target.open("w", encoding="utf-8") as stream:  # a device or a pipe: renaming over it would destroy it
            yield stream
        return
    beside = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        if target.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with open_text(beside, "w") as stream:
            yield stream
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(target)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(path) from error
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        if target.parent.is_dir():
            beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path, *, replace: bool = True) -> Iterator[Path]:
    """A folder that takes the place of `folder`, all of it on disk, when the block ends without an error.

    A kill between the two renames of a replacement leaves the old folder aside; the next call puts a new one there.

    Args:
        replace: put it in the place of a folder that is there, as the only one who writes to it; else that is refused.

    Raises:
        UserError: `folder` is there and not to be replaced, also where another process put it there meanwhile.
        OSError: it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.receipt-trainer-"
    if replace:  # elsewhere another process may be writing at this moment
        for leftover in list(folder.parent.iterdir()):
            if leftover.name.startswith(prefix) and leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
    beside = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        yield beside
        beside.chmod(0o755)  # mkdtemp makes it private
        _flush_all(beside)
        aside = Path(f"{beside}.old")
        if replace and folder.exists():
            folder.replace(aside)
        _put(beside, folder)
        flush_folder(folder.parent)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _put(beside: Path, folder: Path) -> None:
    try:
        beside.rename(folder)  # fails where a file or a folder with content is
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise UserError(f"{folder} is there already; choose another folder") from None


def _flush_all(folder: Path) -> None:
    """Have every file and folder below it on disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            with Path(place, name).open("rb") as stream:
                os.fsync(stream.fileno())
        flush_folder(Path(place))


def flush_folder(folder: Path) -> None:
    """Bring a folder's names to disk: what was renamed into it is there after a power cut too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
