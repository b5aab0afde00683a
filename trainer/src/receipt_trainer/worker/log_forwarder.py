"""Forwards a training process's standard error and keeps it in the job's log, both within bounds."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO, Any, Final, TextIO

from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract.names import DEFAULT_ROWS_DAYS
from receipt_trainer.contract.sinks import MetricsSink, NoMetrics
from receipt_trainer.jobs.metrics_writer import JobStore
from receipt_trainer.jobs.model import Attempt

TAIL_LINES: Final = 40
"""The last lines, which are always kept: a traceback is at the end."""
BURST: Final = 200
LINES_PER_S: Final = 2.0
"""Lines of a log that are kept: so many at once, then so many a second. A library may warn at every step."""
MAX_LINE: Final = 65_536
"""Bytes after which a line is taken as ended: a progress bar may never end one."""
CLOSE_S: Final = 5.0
"""Seconds for what is still to be written; the job's state must not wait for its log."""


class LogForwarder:
    """Reads one stream to its end. Its outputs may fail: the process that writes is never blocked.

    The lines go to the job's log, which the caller closes by `close_in_time`, and to `echo`, by default standard error.
    """

    def __init__(
        self,
        sink: MetricsSink | None = None,
        *,
        echo: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink, self._echo, self._clock = sink or NoMetrics(), echo, clock
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._held: deque[str] = deque(maxlen=TAIL_LINES)
        self._num_held = 0
        self._left, self._filled_at = float(BURST), clock()

    @property
    def last(self) -> str:
        """The last line that says something; empty if there is none."""
        return next((line for line in reversed(self._tail) if line), "")

    def read(self, stream: IO[bytes]) -> None:
        """Take every line until the stream ends."""
        with stream:
            for raw in iter(lambda: stream.readline(MAX_LINE), b""):
                self._take(raw.decode("utf-8", "replace").rstrip().rpartition("\r")[2])
        self._leave_out(self._num_held - len(self._held))
        for line in self._held:
            self._keep(line)

    def _take(self, line: str) -> None:
        self._tail.append(line.strip())
        if not line.strip():
            return
        now = self._clock()
        self._left = min(float(BURST), self._left + (now - self._filled_at) * LINES_PER_S)
        self._filled_at = now
        if self._left < 1:
            self._held.append(line)
            self._num_held += 1
            return
        self._leave_out(self._num_held)
        self._held.clear()
        self._num_held = 0
        self._left -= 1
        self._keep(line)

    def _leave_out(self, num_lines: int) -> None:
        if num_lines > 0:
            self._left -= 1
            self._keep(f"... {num_lines} lines left out ...")

    def _keep(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a full disk, a terminal that is gone
            echo = self._echo or sys.stderr
            echo.write(f"{line}\n")
            echo.flush()
        with contextlib.suppress(ValueError):  # the log is closed: an orphan still speaks
            self._sink.log("warning", line)


def close_in_time(sink: MetricsSink, seconds: float = CLOSE_S) -> None:
    """Write what is left, for so long at most; what cannot be written by then is given up."""

    def close() -> None:
        with contextlib.suppress(Exception):
            sink.close()

    thread = threading.Thread(target=close, name="log-closer", daemon=True)
    thread.start()
    thread.join(seconds)


FIRST_SEQ: Final = 50_000_000
"""Far from the training process's numbers, so that two rows of one instant stay two."""
MAX_PENDING: Final = 2000


def job_log(table: Table, keep_days: int = DEFAULT_ROWS_DAYS) -> Callable[[Attempt, Callable[[], bool]], MetricsSink]:
    """Make the function with which `Worker` opens logs."""

    def open_log(attempt: Attempt, may_write: Callable[[], bool]) -> MetricsSink:
        own: dict[str, Any] = {"attempt": attempt.number, "may_write": may_write, "keep_days": keep_days}
        return JobStore(table, attempt.job_id, max_pending=MAX_PENDING, first_seq=FIRST_SEQ, **own)

    return open_log
