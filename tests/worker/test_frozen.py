from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.strikes import forget
from tests.waiting import TIMEOUT_S, wait_for
from tests.worker.bench import Bench


def test_a_frozen_worker_can_write_nothing_when_it_wakes(
    bench: Bench, hold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped past its lease: its training process ends itself, another worker ends the job, and waking is no harm."""
    job_id = bench.submit()
    short = {"lease_s": 3, "lease_margin_s": 1.0, "visibility_s": 4, "beat_s": 0.5, "poll_s": 1}
    with bench.start("--idle-timeout", "0", settings=short) as frozen:
        wait_for(hold.exists)
        frozen.send_signal(signal.SIGSTOP)
        forget(monkeypatch, "hold")
        bench.worker("second", max_jobs=1, idle_timeout_s=TIMEOUT_S).run()
        job = bench.table.get(job_id)
        assert (job.status, job.attempt) == ("SUCCEEDED", 2)
        before = (bench.rows(job_id), bench.num_messages())
        frozen.send_signal(signal.SIGCONT)
        assert frozen.wait(TIMEOUT_S) == 0
        assert (bench.rows(job_id), bench.num_messages()) == before
        assert [row["outcome"] for row in bench.attempts(job_id)] == ["LOST", "SUCCEEDED"]
