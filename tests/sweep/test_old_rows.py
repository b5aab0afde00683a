"""Sweeps that version 0.1.0 has stored: shown as it showed them, and continued.

`rows_0_1_0.json` has what its own code wrote (a grid whose three trials are complete, failed and queued; a search of
six trials of which three are complete and one is queued), what its `sweep-status --json` said of both, and which values
it would have proposed next.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.jobs.limits import Limits, read_sweep
from receipt_trainer.sweep import study
from tests.cli.jobs import Caller
from tests.sweep.world import World

ROWS = Path(__file__).with_name("rows_0_1_0.json")


@pytest.fixture
def world(jobs_table: str) -> World:
    made = World(jobs_table, lambda training: 0.9 - training["learning_rate"] * 1e3)
    text = ROWS.read_text().replace("QUEUE_URL", made.queue_url)
    dynamo.batch_write(clients.dynamodb(), jobs_table, "restore the rows", puts=json.loads(text)["items"])
    return made


def part(value: Any, old: Any) -> Any:
    """Of `value` what `old` has too."""
    if isinstance(old, dict):
        return {key: part(value[key], inner) for key, inner in old.items()}
    return [part(*pair) for pair in zip(value, old, strict=True)] if isinstance(old, list) else value


@pytest.mark.parametrize("name", ["grid", "search"])
def test_they_are_shown(call: Caller, world: World, name: str) -> None:
    """Scores, curves, time, dollars, reasons, verdict: all that version 0.1.0 said; nothing is written."""
    before = clients.dynamodb().scan(TableName=world.jobs_table)["Count"]
    said, old = call("sweep-status", name, "--json").json, json.loads(ROWS.read_text())["shown"][name]
    assert part(said, old) == old
    assert call("sweep-status", name).code == 0
    assert clients.dynamodb().scan(TableName=world.jobs_table)["Count"] == before


def test_a_search_is_continued(call: Caller, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It proposes what version 0.1.0 would have, keeps what there was, trains nothing twice, and reaches its end."""
    monkeypatch.setattr(study, "NUM_STARTUP", 2)
    of = world.sweeps.get("search")
    old = world.trials(of)
    driver = world.driver(of, concurrency=2)
    trials = driver.advance()
    assert trials[:4] == old
    assert trials[4].params == json.loads(ROWS.read_text())["next"]
    world.train(trials[3].runs[0].job_id)
    for _ in range(3):
        world.work()
        trials = world.driver(of).advance()
    assert [trial.state for trial in trials] == ["COMPLETE"] * 6
    assert trials[:3] == old[:3]
    assert all(job.attempt == 1 for job in world.all_jobs("search-"))
    assert len(world.all_jobs("search-")) == 6
    call("sweep", "--resume", "search", "--max-hours", "9")
    limits, job_ids = read_sweep(Table(world.dynamodb, world.jobs_table), "search")
    assert limits == Limits(max_hours=9)
    assert sorted(job_ids) == sorted(job.job_id for job in world.all_jobs("search-"))


def test_a_trial_that_had_failed_comes_back(world: World) -> None:
    """Its job is tried again and succeeds: the trial is complete, as in a sweep of this version."""
    of = world.sweeps.get("grid")
    trials = world.driver(of).advance()
    assert [trial.state for trial in trials] == ["COMPLETE", "FAILED", "QUEUED"]
    world.jobs.retry(trials[1].runs[0].job_id)
    assert world.driver(of).advance()[1].state == "QUEUED"
    world.train(trials[1].runs[0].job_id)
    driver = world.driver(of)
    assert driver.advance()[1].state == "COMPLETE"
    assert world.trials(of)[1].scores == driver.advance()[1].scores
    assert [trial.number for trial in world.trials(of)] == [0, 1, 2]
