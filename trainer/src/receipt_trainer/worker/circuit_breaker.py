"""Ends the work of a machine that fails one job after the other: it would spend the retries of an entire queue."""

from __future__ import annotations

from typing import Final

from receipt_trainer.worker.finalize import Ending

MAX_MACHINE_FAULTS: Final = 2
"""Failures of the machine in a row; a job has one attempt more by default, which is made on another machine."""


class Breaker:
    """Counts what the machine, not the job, seems to be at fault for.

    A mistake of the user, an interruption or a cancellation says nothing of the machine; a success, and a failure that
    is the program's own, says that the machine works. One run that this machine cannot deliver is enough: it would
    train the next one for hours, for it to lie there as well.
    """

    def __init__(self, limit: int = MAX_MACHINE_FAULTS) -> None:
        self._limit = limit
        self._num_failures = 0
        self._last = ""
        self._refused: str | None = None

    def ended(self, ending: Ending) -> None:
        """Hear how an attempt ended."""
        if ending.is_stuck:
            self._num_failures, self._last = self._limit, f"{ending.reason}; its process cannot be ended"
        elif ending.how == "upload_failed" and ending.is_machine_fault:
            self._refused = ending.reason
        elif ending.how == "failed" and ending.is_machine_fault:
            self._num_failures, self._last = self._num_failures + 1, ending.reason
        elif ending.how in ("succeeded", "failed"):
            self._num_failures = 0

    @property
    def reason(self) -> str | None:
        """Why the machine should take no more jobs; None: it should."""
        if self._refused is not None:
            return f"this machine cannot deliver what it trains: {self._refused}"
        if self._num_failures < self._limit:
            return None
        return f"{self._num_failures} attempts in a row failed on this machine, the last one: {self._last}"
