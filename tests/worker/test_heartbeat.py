from __future__ import annotations

import queue as inboxes
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from receipt_trainer.errors import WorldError
from receipt_trainer.jobs.model import Attempt
from receipt_trainer.jobs.repository import LeaseLost
from receipt_trainer.worker.attempt import AttemptRun, WorkerParts
from receipt_trainer.worker.finalize import Claimed, Ending
from receipt_trainer.worker.heartbeat import Heartbeat
from receipt_trainer.worker.registry import WorkerMachine
from tests.waiting import TIMEOUT_S, wait_for
from tests.worker.bench import Bench

LEASE_S, INTERVAL_S = 240.0, 60.0


class Time:
    """A clock that waiting moves, and that ends the thread after so many waits."""

    def __init__(self, num_waits: int) -> None:
        self.now, self.waits = 0.0, []
        self._num_waits = num_waits

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return len(self.waits) >= self._num_waits


class Recorder:
    """Answers `renew` as it is told, and keeps what it hears."""

    def __init__(self, time: Time, renew: Callable[[int], bool]) -> None:
        self._time, self._renew = time, renew
        self.num_renewals, self.num_extensions, self.num_cancelled = 0, 0, 0
        self.held_s: list[float] = []
        self.lost_reasons: list[str] = []
        self.extend_fails = False

    def renew(self) -> bool:
        self.num_renewals += 1
        return self._renew(self.num_renewals)

    def extend(self) -> None:
        self.num_extensions += 1
        if self.extend_fails:
            raise WorldError("SQS is away")

    def held(self, seconds: float) -> None:
        self.held_s.append(seconds)

    def cancelled(self) -> None:
        self.num_cancelled += 1

    def lost(self, reason: str) -> None:
        self.lost_reasons.append(reason)


def run(recorder: Recorder, time: Time) -> Heartbeat:
    """Beat until the clock says that it is enough, or the lease is lost."""
    heartbeat = Heartbeat(
        recorder,
        held_until=LEASE_S,
        lease_s=LEASE_S,
        interval_s=INTERVAL_S,
        retry_s=5.0,
        clock=time.clock,
        wait=time.wait,
    )
    for thread in threading.enumerate():
        if thread.name == "heartbeat":
            thread.join(TIMEOUT_S)
    return heartbeat


def test_lease_and_message_are_extended_together_and_the_child_is_told() -> None:
    """Every beat renews both, and passes on for how long the lease holds; a cancellation is told once."""
    time = Time(4)
    recorder = Recorder(time, lambda number: number >= 2)
    heartbeat = run(recorder, time)
    assert (recorder.num_renewals, recorder.num_extensions, recorder.num_cancelled) == (3, 3, 1)
    assert recorder.held_s == [LEASE_S] * 3
    assert time.waits == [INTERVAL_S] * 4
    assert recorder.lost_reasons == []
    assert heartbeat.seconds_held == LEASE_S - INTERVAL_S


def test_a_fault_is_tried_again_until_the_lease_is_over() -> None:
    """While AWS cannot be reached, the beat comes every 5 s; when the time of the lease is over, it counts as lost."""

    def away(number: int) -> bool:
        raise WorldError("away")

    time = Time(1000)
    recorder = Recorder(time, away)
    heartbeat = run(recorder, time)
    assert len(recorder.lost_reasons) == 1
    assert "away" in recorder.lost_reasons[0]
    assert time.now == LEASE_S
    assert set(time.waits[1:]) == {5.0}
    assert heartbeat.seconds_held <= 0
    assert recorder.held_s == []


def test_a_short_fault_costs_nothing() -> None:
    """Two failed beats, then one that succeeds: the lease lasts its full time from there, and nobody is alarmed."""

    def renew(number: int) -> bool:
        if number in (1, 2):
            raise WorldError("away")
        return False

    time = Time(5)
    recorder = Recorder(time, renew)
    run(recorder, time)
    assert recorder.lost_reasons == []
    assert time.waits == [60.0, 5.0, 5.0, 60.0, 60.0]


def test_a_lost_lease_ends_the_beat_at_once() -> None:
    """Whoever lost the lease does not extend the message, which may be another's by now."""

    def gone(number: int) -> bool:
        raise LeaseLost("attempt 2 has the job")

    time = Time(1000)
    recorder = Recorder(time, gone)
    run(recorder, time)
    assert recorder.lost_reasons == ["attempt 2 has the job"]
    assert (recorder.num_extensions, len(time.waits)) == (0, 1)


def test_a_message_that_cannot_be_extended_keeps_nobody_from_training() -> None:
    """The lease is what counts: another worker that receives the message is refused by it."""
    time = Time(4)
    recorder = Recorder(time, lambda number: False)
    recorder.extend_fails = True
    run(recorder, time)
    assert recorder.lost_reasons == []
    assert recorder.num_renewals == 3


def test_closing_ends_the_thread_without_waiting_for_the_next_beat() -> None:
    """A job that ends between two beats is not held up by them."""
    recorder = Recorder(Time(1), lambda number: False)
    heartbeat = Heartbeat(recorder, held_until=1e12, lease_s=LEASE_S, interval_s=3600.0)
    closing = threading.Thread(target=heartbeat.close)
    closing.start()
    closing.join(TIMEOUT_S)
    assert not closing.is_alive()
    assert recorder.num_renewals == 0


def test_a_lost_lease_is_heard_before_the_end_that_it_makes(bench: Bench, tmp_path: Path) -> None:
    """The process is killed for the lease's sake: its exit must not be judged as a failure of the machine."""
    job = bench.table.get(bench.submit())
    message = bench.queue.receive(1)
    attempt = bench.table.claim(job.job_id, "worker", LEASE_S, {})
    assert message is not None
    assert isinstance(attempt, Attempt)
    started = tmp_path / "started"
    program = f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(600)"
    parts = WorkerParts(
        bench.settings, bench.table, [bench.queue], WorkerMachine("worker"), command=(sys.executable, "-c", program)
    )
    run = AttemptRun(parts, Claimed(job, attempt, bench.queue, message), inboxes.SimpleQueue())
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(run.run)
        wait_for(started.exists)
        run.lost("its time is over")
        assert ended.result(TIMEOUT_S) == Ending("lost", "its time is over")
    assert run.left is None
