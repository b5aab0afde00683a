"""What the commands say of a complete run that is not delivered, and of one that is held."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli.render import jobs
from receipt_trainer.contract.tables import iso
from tests.cli.jobs import Caller, add_job
from tests.sweep.world import World, axis, definition

REASON = "the run is complete, but not delivered: error: aws s3 sync failed"
LATER = utc_now() + timedelta(hours=5, minutes=59)
PUT_OFF: dict[str, Any] = {
    "status": "INTERRUPTED",
    "attempt": 9,
    "reason": REASON,
    "undelivered_since": iso(utc_now() - timedelta(days=2, hours=12)),
    "num_undelivered": 8,
}
WAITING = PUT_OFF | {"waits_for": REASON, "next_try_at": iso(LATER)}
HELD = PUT_OFF | {"held_reason": "not delivered for 14 days; the last try: AccessDenied"}


@pytest.mark.parametrize("command", ["job-status", "job-details"])
def test_what_a_job_waits_for(command: str, jobs_table: str, call: Caller) -> None:
    """Its state says that it is not delivered; the reason once, since when, how often, and the next try."""
    out = call(command, add_job(jobs_table, **WAITING)).out
    assert "INTERRUPTED (undelivered) · attempt 9" in out
    assert out.count(REASON) == 1
    assert all(said in out for said in ("waits for", "(2 d ago), 8 tries failed", "next try"))
    assert re.search(r"\(in \d h\)", out)


@pytest.mark.parametrize("command", ["job-status", "job-details"])
def test_why_a_job_is_held(command: str, jobs_table: str, call: Caller) -> None:
    """The reason, and the command that delivers it."""
    job_id = add_job(jobs_table, **HELD)
    out = call(command, job_id).out
    assert all(said in out for said in ("INTERRUPTED (held)", "AccessDenied", f"receipt-trainer retry {job_id}"))
    assert "next try" not in out


@pytest.mark.parametrize(("row", "note"), [(WAITING, "undelivered"), (HELD, "held"), ({"status": "INTERRUPTED"}, "")])
def test_the_list_tells_them_apart(row: dict[str, Any], note: str, jobs_table: str, call: Caller) -> None:
    """A word behind the state, the reason beside it; scripts find the attributes, null where there are none."""
    job_id = add_job(jobs_table, **row)
    out = call("jobs").out
    assert (f"INTERRUPTED ({note})" if note else "INTERRUPTED  ") in out
    assert ("next try" in out, f"receipt-trainer retry {job_id[:8]}" in out) == (row == WAITING, row == HELD)
    (said,) = call("jobs", "--json").json
    assert {key: said[key] for key in jobs.UNDELIVERED_KEYS} == {key: row.get(key) for key in jobs.UNDELIVERED_KEYS}


@pytest.mark.parametrize(("row", "state"), [(WAITING, "(undelivered)"), (HELD, "(held)")])
def test_a_narrow_list_is_not_cut(
    row: dict[str, Any], state: str, jobs_table: str, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 columns hold the state, what was spent and the age of a job with a long name."""
    monkeypatch.setenv("COLUMNS", "80")
    job_id = add_job(jobs_table, job_id="54bb5281-af17-4483-a153-91c856bea80b", name="a-rather-long-job-name", **row)
    (line,) = call("jobs").out.splitlines()[1:]
    assert line.startswith(f"{job_id[:8]}  a-rather-long-job…  {state} ")
    assert line.rstrip().endswith(" ago")


def test_watching_a_job_that_waits(jobs_table: str, call: Caller) -> None:
    """The line of its progress says what it waits for, and when it is tried again."""
    out = call("watch", "--once", add_job(jobs_table, **WAITING)).out
    assert "complete, not delivered; next try" in out


@pytest.mark.parametrize("command", [("watch",), ("logs", "--follow")])
def test_nobody_watches_a_held_job_for_ever(command: tuple[str, ...], jobs_table: str, call: Caller) -> None:
    """Nothing more comes by itself: the command ends with 1, the reason and what to do."""
    job_id = add_job(jobs_table, **HELD)
    said = call(*command, job_id)
    assert said.code == 1
    assert f"job {job_id} is held; receipt-trainer retry {job_id} delivers it: not delivered for 14 days" in said.err


def test_watch_looks_for_a_job_that_goes_on(jobs_table: str, call: Caller) -> None:
    """Without a name it is the newest one that is not held."""
    waiting = add_job(jobs_table, status="INTERRUPTED")
    add_job(jobs_table, minutes=1, **HELD)
    assert call("watch", "--once", "--json").json["job_id"] == waiting


def test_a_sweep_says_what_its_trials_wait_for(jobs_table: str, call: Caller) -> None:
    """A line for each: what it waits for, and what delivers a held one, which is HELD in the table and ended."""
    world = World(jobs_table, lambda training: 0.5)
    trials = world.driver(definition(axis("num_epochs", "1,2,3"), name="s", queue_url=world.queue_url)).advance()
    waiting, held, _ = (trial.runs[0].job_id for trial in trials)
    for job_id, row in ((waiting, WAITING), (held, HELD)):
        add_job(jobs_table, job_id=job_id, **row)
    world.work()
    out = call("sweep-status", "s").out
    assert "HELD" in out
    assert f"trial 0, seed 0: complete, not delivered; next try {iso(LATER)[:10]}" in out
    assert f"trial 1, seed 0: held; receipt-trainer retry {held} delivers it: not delivered for 14 days" in out
    assert "trial 2, seed 0" not in out
    assert "all trials together" not in out
    states = {trial["trial"]: trial["state"] for trial in call("sweep-status", "s", "--json").json["trials"]}
    assert states == {0: "WAITING", 1: "HELD", 2: "COMPLETE"}
