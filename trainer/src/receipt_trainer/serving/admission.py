"""How many documents are read at a time, how long others may wait for it, and when one is refused at once."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect

from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.serving.problem_details import ProblemError

Result = TypeVar("Result")

_WEIGHT: Final = 0.1
"""Of the newest document in the mean time that one takes."""
_SURE: Final = 0.5
"""Share of the bound up to which the expected wait is let in: on one processor refusing many can double it."""


def usable_cpus() -> int:
    """Processors that this process may use; not every system tells which."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Admission:
    """The places in which documents of one kind are read. Used by the event loop's thread alone.

    A queue is bounded by the wait that is to be expected in it, not by its length: a document that would wait too long
    is refused before it is received, and none waits longer than `max_wait_s`.
    """

    def __init__(self, places: int, *, max_wait_s: float, deadline_s: float, mean_s: float) -> None:
        """Open the places.

        Args:
            places: documents that are read at the same time.
            max_wait_s: that a document may have to wait for a place.
            deadline_s: from a document's arrival to its answer, at most.
            mean_s: a guess of what one takes; it is measured from then on.
        """
        self.max_wait_s, self.deadline_s, self.mean_s = max_wait_s, deadline_s, mean_s
        self.num_shed = 0
        self._num_places, self._places = places, asyncio.Semaphore(places)
        self._waiting = self._running = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def expected_wait_s(self) -> float:
        """Seconds that the next document waits for a place."""
        ahead = self._waiting + self._running - self._num_places + 1
        return max(0, ahead) * self.mean_s / self._num_places

    def check(self) -> None:
        """Let a document in.

        Raises:
            ProblemError: 503, it would wait too long.
        """
        if self.expected_wait_s > _SURE * self.max_wait_s:
            raise self._shed()

    def _shed(self) -> ProblemError:
        self.num_shed += 1
        again = math.ceil(max(1.0, self.expected_wait_s))
        detail = f"too many documents wait to be read; send this one again in {again} s"
        return ProblemError(503, detail, {"Retry-After": str(again)})

    async def run(
        self,
        work: Callable[[], Awaitable[Result]],
        gone: Callable[[], Awaitable[None]],
        waited: Callable[[float], None],
    ) -> Result:
        """What `work` returns, once there is a place for it.

        A work that is cancelled keeps its place until it has really ended.

        Args:
            gone: returns when nobody waits for the result any more; the work is then given up.
            waited: is told the seconds until the work began.

        Raises:
            ProblemError: 503, it would wait too long; 504, it has not ended within the deadline.
            ClientDisconnect: nobody waits any more.
        """
        self.check()
        task = asyncio.create_task(self._in_turn(work, waited))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        watcher = asyncio.ensure_future(gone())
        try:
            await asyncio.wait({task, watcher}, timeout=self.deadline_s, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if watcher.done():
                raise ClientDisconnect
        finally:
            watcher.cancel()
            task.cancel()
        raise ProblemError(504, f"not read within {self.deadline_s:g} s; send fewer pages or words, or try it later")

    async def _in_turn(self, work: Callable[[], Awaitable[Result]], waited: Callable[[float], None]) -> Result:
        came = time.monotonic()
        self._waiting += 1
        try:
            async with asyncio.timeout(self.max_wait_s):
                await self._places.acquire()
        except TimeoutError:
            raise self._shed() from None
        finally:
            self._waiting -= 1
        began = time.monotonic()
        waited(began - came)
        self._running += 1
        refused = False
        try:
            return await work()
        except (ProblemError, UserError, WorldError):
            refused = True  # is quicker than to read one, and says nothing of what the next one takes
            raise
        finally:
            self._running -= 1
            self._places.release()
            if not refused:
                self.mean_s += _WEIGHT * (time.monotonic() - began - self.mean_s)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # of one that was given up nobody asks for it
