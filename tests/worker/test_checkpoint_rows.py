from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.training import checkpoints
from receipt_trainer.worker.interruptions import Interruption
from tests.strikes import expect, forget
from tests.training.runs import curve, epochs
from tests.waiting import wait_for
from tests.worker.bench import Bench, Running

COARSE = {"logging_steps": 4}
"""So that a mean of losses spans an interruption."""


def kept(bench: Bench, job_id: str) -> list[int]:
    """The steps of the CHECKPOINT rows."""
    return [int(row["step"]) for row in bench.rows(job_id, "CHECKPOINT#")]


def on_disk(bench: Bench, job_id: str) -> list[int]:
    return sorted(int(path.name.rpartition("-")[2]) for path in checkpoints.folders(bench.run_dir(job_id)))


def test_the_rows_are_the_checkpoints_that_are_kept(bench: Bench) -> None:
    """One row for each folder, with epoch, size, path and attempt; what was pruned is gone from both."""
    job_id = bench.submit(save_steps=4, save_total_limit=2)
    bench.worker().run()
    assert kept(bench, job_id) == on_disk(bench, job_id)
    row: dict[str, Any] = bench.rows(job_id, "CHECKPOINT#")[-1]
    folder = bench.run_dir(job_id) / "checkpoint-18"
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != checkpoints.SEAL]
    assert (row["step"], row["epoch"], row["attempt"], row["path"]) == (18, 2, 1, str(folder))
    assert row["size_bytes"] == sum(sizes) > 0
    assert bench.attempts(job_id)[0]["start_step"] == 0


def test_an_interruption_keeps_what_the_run_said_of_its_checkpoint(
    bench: Bench, hold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of the last checkpoint has epoch and size also after the worker has named it as the attempt's."""
    job_id = bench.submit()
    running = Running(bench.worker())
    wait_for(hold.exists)
    running.worker.interrupt(Interruption("signal", "SIGTERM"))
    running.end()
    (row,) = bench.rows(job_id, "CHECKPOINT#")
    assert (row["step"], row["attempt"]) == (7, 1)
    assert row["epoch"] == pytest.approx(14 / 17)
    assert row["size_bytes"] > 0


def test_rows_that_a_vanished_worker_left_wrong_are_put_right(
    bench: Bench, hold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for a checkpoint that is not there, none for one that is: the next attempt mends both."""
    job_id = bench.submit(save_steps=4, save_total_limit=20)
    running = Running(bench.worker())
    wait_for(hold.exists)
    running.worker.interrupt(Interruption("signal", "SIGTERM"))
    running.end()
    (row, *_) = bench.rows(job_id, "CHECKPOINT#0000000004")
    client: Any = bench.dynamodb
    table, key = bench.settings.jobs_table, {"PK": {"S": row["PK"]}}
    client.delete_item(TableName=table, Key=key | {"SK": {"S": row["SK"]}})
    client.put_item(TableName=table, Item=key | {"SK": {"S": "CHECKPOINT#0000000003"}, "step": {"N": "3"}})
    forget(monkeypatch, "hold")
    bench.worker("second").run()
    assert kept(bench, job_id) == on_disk(bench, job_id)
    (again,) = bench.rows(job_id, "CHECKPOINT#0000000004")
    assert {name: again[name] for name in ("step", "epoch", "path", "size_bytes")} == {
        name: row[name] for name in ("step", "epoch", "path", "size_bytes")
    }


@pytest.fixture
def undisturbed(bench: Bench) -> str:
    """A job that nobody disturbs, without any checkpoint but the epochs'."""
    job_id = bench.submit(**COARSE)
    bench.worker(save_interval_s=0.0).run()
    return job_id


def same_curve(bench: Bench, one: str, other: str) -> None:
    """All logged means and scores of two jobs are equal, and at the same steps."""
    assert curve(bench.run_dir(one)) == curve(bench.run_dir(other))
    assert epochs(bench.run_dir(one)) == epochs(bench.run_dir(other))
    assert bench.steps(one) == bench.steps(other)


def test_checkpoints_by_the_clock_change_no_loss(bench: Bench, undisturbed: str) -> None:
    """A job that is saved whenever it is time has, to the last bit, the curve of one that is saved at epochs' ends."""
    job_id = bench.submit(**COARSE, save_total_limit=30)
    bench.worker(save_interval_s=1e-6).run()
    assert 1 in on_disk(bench, job_id)  # the first step: the interval was over
    same_curve(bench, job_id, undisturbed)


def test_a_worker_that_vanishes_in_its_first_epoch_loses_little(
    bench: Bench, undisturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at step 3, between two logged means: the next attempt goes on from there, on the same curve."""
    expect(monkeypatch, "before", 5)
    job_id = bench.submit(**COARSE)
    bench.worker(save_interval_s=1e-6, max_jobs=1).run()
    forget(monkeypatch, "before")
    bench.worker("second").run()
    assert bench.table.get(job_id).status == "SUCCEEDED"
    assert bench.attempts(job_id)[1]["start_step"] in (1, 2)
    same_curve(bench, job_id, undisturbed)
