"""How a run is asked to stop, or to save and continue, by the process that started it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

REPEAT_S: Final = 1.0
"""Signals that follow the first one so soon are that one again: a terminal, make and torchrun each pass it on."""


class Interrupted(BaseException):
    """A run stopped on request. Not an Exception: nothing that handles faults may take it for one."""


class StopRequest:
    """A request to stop: at once, or at the next checkpoint while training runs. Made for signal handlers.

    Attributes:
        save_asked: a checkpoint is wanted soon; the run continues. Writing one clears it.
        signal: the number of the last signal that asked; None if none did.
    """

    def __init__(self) -> None:
        self.asked = False
        self.save_asked = False
        self.signal: int | None = None
        self._deferred = False

    def ask(self) -> None:
        """Ask; raises Interrupted where nothing is lost by stopping here."""
        self.asked = True
        if not self._deferred:
            raise Interrupted("stopped on request, outside training")

    def ask_to_save(self) -> None:
        """Ask for a checkpoint at the end of the step; asked before training, at the end of its first step."""
        self.save_asked = True

    def defer(self) -> None:
        """From here on the training loop looks at `asked`; Interrupted: it was asked before."""
        self._deferred = True
        if self.asked:
            raise Interrupted("stopped on request, before training")

    def undefer(self) -> None:
        """From here on `ask` stops at once again; Interrupted: it was asked since the last checkpoint."""
        self._deferred = False
        if self.asked:
            raise Interrupted("stopped on request, after training")


@contextmanager
def listen(stop: StopRequest, *, insist: bool = True, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """SIGINT and SIGTERM ask for the end.

    Args:
        insist: a signal that comes `REPEAT_S` after the first one or later ends the run at once, by KeyboardInterrupt.
            Otherwise signals that come after the block are ignored: how the process ends is decided.
    """
    owner = os.getpid()
    first_at: float | None = None

    def on_signal(number: int, frame: object) -> None:
        nonlocal first_at
        if os.getpid() != owner:  # a process that builds batches
            os._exit(128 + number)
        if insist and first_at is not None:
            if clock() - first_at < REPEAT_S:
                return
            stop.signal = number
            raise KeyboardInterrupt
        first_at, stop.signal = clock(), number
        stop.ask()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            restored = signal.SIG_DFL if handler is None else handler  # None: not set from Python
            signal.signal(number, restored if insist else signal.SIG_IGN)
