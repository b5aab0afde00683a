from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.strikes import expect, forget
from tests.worker.bench import Bench

UNSHARE = shutil.which("unshare")
MAY_MOUNT = UNSHARE is not None and subprocess.run([UNSHARE, "-m", "true"], capture_output=True).returncode == 0


BETWEEN = 25
"""Behind the first epoch's checkpoint, before the second one's."""


@pytest.mark.skipif(not MAY_MOUNT, reason="this user may not mount")
def test_a_folder_that_becomes_read_only_fails_the_attempt_and_spares_its_checkpoints(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is at fault, and takes no third attempt; where it can be written to, the job goes on and succeeds."""
    expect(monkeypatch, "read_only", BETWEEN, file=bench.settings.checkpoints_dir)
    job_id = bench.submit(num_epochs=3)
    reason = bench.worker("reader").run()
    assert "2 attempts in a row" in reason
    attempts = bench.attempts(job_id)
    assert [row["outcome"] for row in attempts] == ["FAILED"] * 2
    for row in attempts:
        assert row["reason"].startswith("the machine failed: "), row["reason"]
        assert "ead-only file system" in row["reason"]
        assert "\n" not in row["reason"]
    assert [row["start_step"] for row in attempts] == [0, 9]
    forget(monkeypatch, "read_only")
    bench.worker("writer").run()
    assert (bench.table.get(job_id).status, bench.num_messages()) == ("SUCCEEDED", 0)
    assert bench.attempts(job_id)[2]["start_step"] >= 9
    assert sorted(set(bench.steps(job_id))) == list(range(1, 28))


def test_a_folder_that_vanishes_in_a_run_costs_its_steps_and_no_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoints are gone, as with a file system that was unmounted: the machine is at fault and goes, and another
    one trains the job from its beginning."""
    expect(monkeypatch, "vanish", BETWEEN, file=bench.settings.checkpoints_dir)
    job_id = bench.submit(num_epochs=3)
    assert "2 attempts in a row" in bench.worker("first").run()
    attempts = bench.attempts(job_id)
    assert [(row["outcome"], row["start_step"]) for row in attempts] == [("FAILED", 0)] * 2
    for row in attempts:
        assert row["reason"].startswith("the machine failed: the run's folder is gone: "), row["reason"]
        assert "\n" not in row["reason"]
    forget(monkeypatch, "vanish")
    bench.worker("second").run()
    assert (bench.table.get(job_id).status, bench.num_messages()) == ("SUCCEEDED", 0)
    assert sorted(set(bench.steps(job_id))) == list(range(1, 28))
