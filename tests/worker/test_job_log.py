from __future__ import annotations

from pathlib import Path

import pytest

from receipt_trainer.worker.child import num_oom_kills
from tests.strikes import expect
from tests.worker.bench import Bench


def test_a_traceback_of_the_training_process_is_in_the_jobs_log(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """`receipt-trainer logs` says why: the whole traceback, with the attempt's number, and how the attempt ended."""
    expect(monkeypatch, "raise", 3)
    job_id = bench.submit(max_failures=1)
    bench.worker().run()
    log = bench.log(job_id)
    begin = log.index("Traceback (most recent call last):")
    end = log.index("RuntimeError: broken on purpose")
    assert begin < end
    assert any("loss.py" in line or "strikes.py" in line for line in log[begin:end])
    assert log[-1] == "attempt 1 failed: exit code 1: RuntimeError: broken on purpose"
    assert {row["attempt"] for row in bench.rows(job_id, "LOG#")} == {1}
    assert bench.table.get(job_id).status == "FAILED"


def test_a_process_that_was_killed_says_nothing_and_its_log_says_by_what(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL leaves no words; the worker's own lines are there."""
    expect(monkeypatch, "before", 5)
    job_id = bench.submit(max_failures=1)
    bench.worker().run()
    log = bench.log(job_id)
    assert "begins attempt 1 at step 0" in log[0]
    assert log[-1].startswith("attempt 1 failed: killed by SIGKILL")


def test_a_worker_prints_short_lines_only(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    """The report is in the run's folder; the terminal of a worker, which a log group keeps, has lines of the run."""
    bench.submit()
    bench.worker().run()
    out = capfd.readouterr().out
    assert "9 receipts" in out or "receipts to train on" in out
    assert "epoch" in out
    assert len([line for line in out.splitlines() if line.strip()]) < 25
    assert not any(sign in out for sign in "│┃━▇")


def test_the_systems_count_of_processes_ended_for_memory(tmp_path: Path) -> None:
    """It is read where the kernel keeps it, and unknown where there is none."""
    counters = tmp_path / "vmstat"
    assert num_oom_kills(counters) is None
    counters.write_text("oom_kill_total 9\nnr_free_pages 12\n")
    assert num_oom_kills(counters) is None
    counters.write_text("nr_free_pages 12\noom_kill 3\n")
    assert num_oom_kills(counters) == 3
