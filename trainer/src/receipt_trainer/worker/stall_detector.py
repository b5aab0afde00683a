"""Whether a training process gets on: it writes what it does into a small file, its worker looks whether that changes.

A file of the worker's own, on the instance's disk: it needs no network, works while the process is stuck on one, and a
change of its text needs no two clocks that agree.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

SIZE: Final = 120
"""Bytes of the text, always the same: it is written over, so that a disk that fills up later does not matter."""


class ProgressFile:
    """The training process's side (the contract's `Listener`)."""

    def __init__(self, path: Path) -> None:
        self._path, self._count = path, 0

    def moved(self, doing: str, quiet_s: float) -> None:
        """See `Listener`."""
        self._count += 1
        text = f"{self._count} {quiet_s:.0f} {doing}".encode()[:SIZE].ljust(SIZE)
        with contextlib.suppress(OSError):  # training must not fail for what is only watched
            descriptor = os.open(self._path, os.O_WRONLY)
            try:
                os.pwrite(descriptor, text, 0)
            finally:
                os.close(descriptor)


class StallWatch:
    """The worker's side: looks at the file now and then; one that cannot be read says nothing."""

    def __init__(self, path: Path, stall_s: float, clock: Callable[[], float]) -> None:
        self._path, self._stall_s, self._clock = path, stall_s, clock
        self._text, self._changed_at = "", clock()

    def look(self) -> str | None:
        """Why the process is taken for stuck; None while it is not."""
        asked_at = self._clock()
        text = self._read()
        if text != self._text:
            self._text, self._changed_at = text, self._clock()
        _, quiet, doing = (*self._text.split(" ", 2), "", "", "")[:3]
        still_s = asked_at - self._changed_at  # what passed since the text was read says nothing
        if still_s < max(self._stall_s, float(quiet) if quiet.isdecimal() else 0.0):
            return None
        return f"no progress for {still_s / 60:.0f} min (last: {doing or 'none'})"

    def _read(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return self._text
