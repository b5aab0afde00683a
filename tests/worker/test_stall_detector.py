from __future__ import annotations

import re
from pathlib import Path

import pytest

from receipt_trainer.aws.server_time import since_boot_s
from receipt_trainer.worker.child import Child
from receipt_trainer.worker.stall_detector import ProgressFile, StallWatch
from tests.strikes import expect, forget
from tests.worker.bench import Bench, Running

STALL_S = 1800.0
FAR = {"stall_s": STALL_S, "lease_s": 10**6, "max_receive_s": 1e9}
"""Times that a clock which leaps does not end by itself."""


class Rushing:
    """A clock of which 0.2 s last more than an hour for as long as `path` is there."""

    def __init__(self, path: Path) -> None:
        self._path, self._last, self._now = path, since_boot_s(), since_boot_s()

    def __call__(self) -> float:
        now = since_boot_s()
        self._now += (now - self._last) * (20_000 if self._path.exists() else 1)
        self._last = now
        return self._now


def test_only_silence_is_a_stall(tmp_path: Path) -> None:
    """A word every 29 minutes for a day is slow; 30 minutes of silence are not, and the last word is named."""
    path, now = tmp_path / "progress", 0.0
    path.touch()
    watch, child = StallWatch(path, STALL_S, lambda: now), ProgressFile(path)
    for step in range(50):
        now += STALL_S - 60
        child.moved(f"step {step}", 0)
        assert watch.look() is None
    now += STALL_S - 1
    assert watch.look() is None
    now += 1
    assert watch.look() == "no progress for 30 min (last: step 49)"
    child.moved("step 49", 0)  # the same words again are progress, too
    assert watch.look() is None


def test_what_has_a_bound_of_its_own_may_be_silent_for_so_long(tmp_path: Path) -> None:
    """An upload of an hour is ended by its own time, not by the watch."""
    path, now = tmp_path / "progress", 0.0
    path.touch()
    watch, child = StallWatch(path, STALL_S, lambda: now), ProgressFile(path)
    child.moved("aws s3 sync", 3600)
    assert watch.look() is None
    now = 3599
    assert watch.look() is None
    now = 3600
    assert watch.look() == "no progress for 60 min (last: aws s3 sync)"


def test_one_that_never_said_a_word_is_stuck_too(tmp_path: Path) -> None:
    """The time runs from the start; a file that is gone changes nothing."""
    now = 0.0
    watch = StallWatch(tmp_path / "gone", STALL_S, lambda: now)
    now = STALL_S
    assert watch.look() == "no progress for 30 min (last: none)"


def test_a_stuck_process_is_asked_for_a_checkpoint_and_the_job_goes_on_elsewhere(
    bench: Bench, hold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAILED with the last step in the reason, one failure counted; the next worker goes on from what was saved."""
    job_id = bench.submit()
    Running(bench.worker("stuck", clock=Rushing(hold), max_jobs=1, **FAR)).end()
    (attempt,) = bench.attempts(job_id)
    assert attempt["outcome"] == "FAILED"
    assert re.fullmatch(r"no progress for \d+ min \(last: .*step 6\)", attempt["reason"])
    assert bench.table.get(job_id).status == "PENDING"
    forget(monkeypatch, "hold")
    bench.worker("sound").run()
    job = bench.table.get(job_id)
    assert (job.status, job.num_failures) == ("SUCCEEDED", 1)
    assert bench.attempts(job_id)[1]["start_step"] == 7


def test_one_that_does_not_answer_is_killed_and_two_of_them_end_the_worker(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the stop grace it is killed; it counts as the machine's failure."""
    expect(monkeypatch, "stick", 3, file=tmp_path / "stuck")
    job_id = bench.submit()
    clock = Rushing(tmp_path / "stuck")
    reason = bench.worker("stuck", clock=clock, stop_grace_s=0.2, **FAR).run()
    assert reason.startswith("2 attempts in a row failed on this machine, the last one: no progress for")
    assert bench.table.get(job_id).status == "PENDING"


def test_one_that_cannot_even_be_killed_ends_the_worker_at_once(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that waits inside the kernel: its job is free, and the machine takes no other one."""
    expect(monkeypatch, "stick", 3, file=tmp_path / "stuck")
    killed: list[Child] = []
    kill = Child.kill
    monkeypatch.setattr(Child, "kill", lambda child: killed.append(child))
    job_id = bench.submit()
    clock = Rushing(tmp_path / "stuck")
    reason = bench.worker("stuck", clock=clock, stop_grace_s=0.2, kill_grace_s=0.1, **FAR).run()
    kill(killed[0])
    assert reason.endswith("its process cannot be ended")
    assert bench.table.get(job_id).status == "PENDING"
    assert len(bench.attempts(job_id)) == 1


def test_slow_training_that_moves_is_not_ended(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the worker's clock each loss takes 800 s, the run four hours: no attempt is ended."""
    ticks = tmp_path / "ticks"
    ticks.touch()
    expect(monkeypatch, "tick", 0, file=ticks)
    job_id = bench.submit(num_epochs=1)
    clock = lambda: since_boot_s() + 800 * ticks.stat().st_size  # noqa: E731
    bench.worker(clock=clock, **(FAR | {"beat_s": 0.02})).run()
    job = bench.table.get(job_id)
    assert (job.status, job.attempt) == ("SUCCEEDED", 1), job.reason
    assert 800 * ticks.stat().st_size > 5 * STALL_S
