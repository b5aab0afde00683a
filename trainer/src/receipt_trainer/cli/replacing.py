"""Output files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from receipt_trainer.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """A stream that becomes `path` when the block ends without an error; gzipped if it is called *.gz.

    Raises:
        UserError: it cannot be written there.
    """
    from receipt_trainer.data.receipts.jsonl import open_text

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
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        if target.parent.is_dir():
            beside.unlink(missing_ok=True)
