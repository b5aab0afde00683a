"""A training process lives no longer than the lease of the worker that started it.

The worker writes, line by line, for how many more seconds the lease is surely its own. A worker that dies, freezes or
cannot renew writes nothing; its training process then ends by itself, before another worker may take the job. The line
`SAVE` asks for a checkpoint. It is no signal: one that came before its handler is set would end the process.
"""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Final

from receipt_trainer.aws.server_time import since_boot_s

SAVE: Final = "save"
"""The line that asks for a checkpoint; training continues."""


class LeaseWatchdog:
    """The training process's side: a thread that reads and watches the time; it makes all calls.

    Args:
        first_s: seconds that the lease lasts without any line.
        on_gone: the worker has closed its end or died.
        on_expired: the time is over.
        on_save: a checkpoint is asked for.
    """

    def __init__(
        self,
        descriptor: int,
        first_s: float,
        *,
        on_gone: Callable[[], None],
        on_expired: Callable[[], None],
        on_save: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = since_boot_s,
    ) -> None:
        self._descriptor, self._clock = descriptor, clock
        self._on_gone, self._on_expired, self._on_save = on_gone, on_expired, on_save
        self._deadline = clock() + first_s
        threading.Thread(target=self._run, name="lease-watchdog", daemon=True).start()

    def _run(self) -> None:
        text, is_open = b"", True
        while (left_s := self._deadline - self._clock()) > 0:
            if not is_open:
                time.sleep(min(left_s, 1.0))
                continue
            if not select.select([self._descriptor], [], [], min(left_s, 1.0))[0]:
                continue
            piece = os.read(self._descriptor, 4096)
            if not piece:
                is_open = False
                self._on_gone()
                continue
            *lines, text = (text + piece).split(b"\n")
            self._obey(lines)
        self._on_expired()

    def _obey(self, lines: list[bytes]) -> None:
        if SAVE.encode() in lines:
            self._on_save()
        for line in [line for line in lines if line != SAVE.encode()][-1:]:
            seconds = float(line)
            if math.isfinite(seconds):
                self._deadline = self._clock() + seconds
