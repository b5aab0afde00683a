"""A worker's place in a local session: an instance of its own, and an end when the session ends."""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from receipt_trainer.local import control_api
from receipt_trainer.local.session import Session, folder

LOOK_S: Final = 2.0
WORKERS: Final = "workers"


@contextmanager
def join(session: Session) -> Iterator[str]:
    """The URL of the metadata service of a new instance that is this process, as long as the block lasts.

    Raises:
        WorldError: the session does not answer.
    """
    path = folder() / WORKERS / f"{os.getpid()}-{secrets.token_hex(4)}.lock"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield control_api.launch(session, os.getpid(), path.name)[1]
        finally:
            path.unlink(missing_ok=True)


class Lifeline:
    """A thread that looks whether the session lives; a context manager."""

    def __init__(self, session: Session, on_gone: Callable[[], None], *, interval_s: float = LOOK_S) -> None:
        """Start looking; `on_gone` is called once, in the thread."""
        self._session, self._on_gone, self._interval_s = session, on_gone, interval_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session-lifeline", daemon=True)

    def _run(self) -> None:
        while not self._closed.wait(self._interval_s):
            if not self._session.is_live():
                self._on_gone()
                return

    def __enter__(self) -> Lifeline:
        self._thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._closed.set()
        self._thread.join()
