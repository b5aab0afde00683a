from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from receipt_trainer.worker.lease_watchdog import LeaseWatchdog
from tests.waiting import TIMEOUT_S


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    os.close(ends[0])


def test_a_lease_that_is_extended_holds_and_one_that_is_not_ends(pipe: tuple[int, int]) -> None:
    """The worker's last line counts; when its time is over, the training process is told to go."""
    clock, expired, heard = Clock(), threading.Event(), threading.Semaphore(0)
    LeaseWatchdog(
        pipe[0], 100.0, on_gone=lambda: None, on_expired=expired.set, on_save=lambda: heard.release(), clock=clock
    )
    os.write(pipe[1], b"150.0\n3")
    os.write(pipe[1], b"00.0\n")
    for _ in range(2):  # what is heard of a second time was written after the first piece was obeyed
        os.write(pipe[1], b"save\n")
        assert heard.acquire(timeout=TIMEOUT_S)
    clock.now = 299.0
    assert not expired.wait(0.05)
    clock.now = 300.0
    os.write(pipe[1], b"")
    assert expired.wait(TIMEOUT_S)
    os.close(pipe[1])


def test_a_worker_that_died_is_noticed_at_once_and_the_lease_still_bounds_what_follows(pipe: tuple[int, int]) -> None:
    """The closed pipe asks for a checkpoint; the end of the lease is the end in any case."""
    clock, gone, expired = Clock(), threading.Event(), threading.Event()
    LeaseWatchdog(pipe[0], 100.0, on_gone=gone.set, on_expired=expired.set, clock=clock)
    os.close(pipe[1])
    assert gone.wait(TIMEOUT_S)
    assert not expired.is_set()
    clock.now = 100.0
    assert expired.wait(TIMEOUT_S)
