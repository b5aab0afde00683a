from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path

import pytest

from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.jobs.repository import JobTable
from tests.strikes import forget
from tests.waiting import TIMEOUT_S, wait_for
from tests.worker.bench import Bench
from tests.worker.test_clock import send_stray


def test_a_frozen_worker_can_write_nothing_when_it_wakes(
    bench: Bench, hold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped past its lease: its training process ends itself, another worker ends the job, and waking is no harm."""
    job_id, leap = bench.submit(), tmp_path / "leap"
    with bench.start("--idle-timeout", "0", environ={"TEST_LEAP": str(leap)}) as frozen:
        wait_for(hold.exists)
        frozen.send_signal(signal.SIGSTOP)
        forget(monkeypatch, "hold")
        leap.touch()
        bench.table = JobTable(bench.dynamodb, bench.settings.jobs_table, clock=lambda: utc_now() + timedelta(hours=1))
        send_stray(bench, job_id)
        bench.worker("second", max_jobs=1, idle_timeout_s=TIMEOUT_S).run()
        job = bench.table.get(job_id)
        assert (job.status, job.attempt) == ("SUCCEEDED", 2)
        before = (bench.rows(job_id), bench.num_messages())
        frozen.send_signal(signal.SIGCONT)
        assert frozen.wait(TIMEOUT_S) == 0
        assert (bench.rows(job_id), bench.num_messages()) == before
        assert [row["outcome"] for row in bench.attempts(job_id)] == ["LOST", "SUCCEEDED"]
