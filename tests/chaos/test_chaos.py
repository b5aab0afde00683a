from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from receipt_trainer.jobs.curves import curves
from receipt_trainer.local.emulator import LocalCloud
from tests.chaos.invariants import Evidence, judge
from tests.chaos.journal import Injected, Journal, Step
from tests.chaos.measures import to_claim_s, to_release_s
from tests.chaos.plan import IN_SHORT, KINDS, STEPS, Fault, PlannedJob, count_kinds, make_plan
from tests.chaos.run import ChaosRun
from tests.chaos.times import STRETCH

DEADLINE_S = 900.0
NOTICE_LIMIT_S = 120.0
"""AWS takes a spot instance away so long after its notice."""


@pytest.fixture
def own_cloud(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An embedded AWS for this run alone, in the environment."""
    with LocalCloud(prefix="chaos-") as running:
        environment = running.applied_to(os.environ)
        for name in os.environ.keys() - environment.keys():
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv(STRETCH, "1")  # the run sets it
        yield running


@pytest.mark.timeout(3600)
def test_no_chaos_loses_a_job(own_cloud: LocalCloud, tmp_path: Path, training_command: tuple[str, ...]) -> None:
    """Five jobs, three workers, each fault of the short form once: nothing lost, nothing twice, the same losses."""
    run = ChaosRun(make_plan(1, 5, short=True), own_cloud, training_command, tmp_path)
    evidence = run.run(1, DEADLINE_S)
    assert judge(evidence) == [], f"see {tmp_path}"
    assert {one.kind for one in evidence.journal.injected} == set(IN_SHORT)
    assert len(to_release_s(evidence)) == 2
    assert max(to_release_s(evidence)) < NOTICE_LIMIT_S
    assert len(to_claim_s(evidence)) == 3


def test_a_plan_is_a_function_of_its_seed() -> None:
    """Equal for equal seeds, another one for another, with every kind in it and each fault where it can happen."""
    assert make_plan(7, 20) == make_plan(7, 20)
    assert make_plan(7, 20) != make_plan(8, 20)
    for seed in range(50):
        for num_jobs, short in ((5, True), (5, False), (20, False)):
            jobs = make_plan(seed, num_jobs, short=short)
            assert len(jobs) == num_jobs
            assert set(count_kinds(jobs)) == set(IN_SHORT if short else KINDS)
            assert {job.fate for job in jobs} == {"ordinary", "mistaken", "doomed"}
            for fault in (fault for job in jobs for fault in job.faults):
                assert (2 <= fault.step < STEPS) == (fault.trigger == "step")
                assert fault.step > 9 or not fault.kind.startswith("checkpoint")


BEGAN = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def _at(seconds: float) -> str:
    return (BEGAN + timedelta(seconds=seconds)).isoformat(timespec="microseconds")


def _metric(attempt: int, step: int, seconds: float, value: float = 1.0) -> dict[str, Any]:
    own = {"SK": f"METRIC#loss#{_at(seconds)}#{step}", "name": "loss", "step": step, "epoch": step / 9}
    return own | {"attempt": attempt, "value": value, "timestamp": _at(seconds), "seq": step}


def _status(version: int, before: str | None, to: str, attempt: int, seconds: float) -> dict[str, Any]:
    own = {"SK": f"STATUS#{_at(seconds)}#{version:06d}", "to": to, "attempt": attempt, "at": _at(seconds)}
    return own if before is None else own | {"from": before}


@pytest.fixture
def whole(tmp_path: Path) -> Evidence:
    """What a job leaves whose worker was killed at step 3 and that another one ended: all is as it must be."""
    journal = Journal(tmp_path / "journal.jsonl")
    killed_at = BEGAN.timestamp() + 3
    journal.injected.append(Injected(1, "instance lost", "job-01", "j", "i-1", 1, killed_at))
    for attempt, step, seconds in ((1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 2, 20), (2, 3, 21)):
        journal.steps.append(Step("j", attempt, step, 100 + attempt, f"i-{attempt}", BEGAN.timestamp() + seconds))
    metrics = [_metric(1, 1, 1.5), _metric(1, 2, 2.5), _metric(2, 2, 20.5), _metric(2, 3, 21.5)]
    rows = [
        {"SK": "JOB", "status": "SUCCEEDED"},
        _status(1, None, "PENDING", 0, 0),
        _status(2, "PENDING", "CLAIMED", 1, 0.5),
        _status(3, "CLAIMED", "RUNNING", 1, 0.6),
        _status(4, "RUNNING", "CLAIMED", 2, 17),
        _status(5, "CLAIMED", "RUNNING", 2, 17.1),
        _status(6, "RUNNING", "SUCCEEDED", 2, 23),
        {"SK": "ATTEMPT#1", "attempt": 1, "outcome": "LOST", "reason": "not heard of", "ended_at": _at(12)},
        {"SK": "ATTEMPT#2", "attempt": 2, "outcome": "SUCCEEDED", "ended_at": _at(23)},
        *metrics,
    ]
    undisturbed = {1: curves([_metric(1, step, step) for step in (1, 2, 3)])}
    objects = {"job-01/j/run.json": '{"status": "complete"}'}
    objects |= {f"job-01/j/{name}": "" for name in ("report.html", "model/model.safetensors")}
    jobs = {"j": PlannedJob("job-01", "ordinary", 1, "high")}
    return Evidence(jobs, {"j": rows}, undisturbed, journal, objects=objects)


def test_what_is_whole_passes(whole: Evidence) -> None:
    """No complaint, and the time from the loss to the next claim is taken from the rows."""
    assert judge(whole) == []
    assert to_claim_s(whole) == [pytest.approx(14)]


def _without(whole: Evidence, sort_key: str) -> list[Any]:
    return [row for row in whole.rows["j"] if not row["SK"].startswith(sort_key)]


def _changed(whole: Evidence, sort_key: str, **values: Any) -> list[Any]:
    return [{**row, **values} if row["SK"].startswith(sort_key) else row for row in whole.rows["j"]]


SPOILED: dict[str, tuple[str, Callable[[Evidence], list[Any]]]] = {
    "lost": ("the job is lost", lambda whole: []),
    "not ended": ("is RUNNING", lambda whole: _changed(whole, "JOB", status="RUNNING")),
    "ended twice": (
        "not once",
        lambda whole: [*whole.rows["j"], _status(7, "SUCCEEDED", "SUCCEEDED", 2, 24)],
    ),
    "written by an earlier attempt": (
        "after attempt 2",
        lambda whole: _changed(whole, f"STATUS#{_at(23)}", attempt=1),
    ),
    "a change is missing": ("went from", lambda whole: _without(whole, f"STATUS#{_at(0.6)}")),
    "an attempt without an end": ("has no end", lambda whole: _changed(whole, "ATTEMPT#1", outcome=None)),
    "an attempt without a reason": ("without a reason", lambda whole: _changed(whole, "ATTEMPT#1", reason=None)),
    "an attempt is missing": ("attempts [2]", lambda whole: _without(whole, "ATTEMPT#1")),
    "taken under a lease": ("had its lease", lambda whole: _changed(whole, "ATTEMPT#1", ended_at=_at(17.5))),
    "a gap": ("no value at steps [3]", lambda whole: _without(whole, f"METRIC#loss#{_at(21.5)}")),
    "a double": ("twice", lambda whole: [*whole.rows["j"], _metric(2, 3, 22)]),
    "written in turn": ("in turn", lambda whole: [*whole.rows["j"], _metric(1, 3, 20.7)]),
    "another loss": ("undisturbed 1.0", lambda whole: _changed(whole, f"METRIC#loss#{_at(21.5)}", value=1.00001)),
}


@pytest.mark.parametrize("what", SPOILED)
def test_what_is_spoiled_is_found(whole: Evidence, what: str) -> None:
    """Each check complains of what it is there for."""
    complaint, spoil = SPOILED[what]
    assert any(complaint in text for text in judge(replace(whole, rows={"j": spoil(whole)})))


def test_what_is_not_delivered_is_found(whole: Evidence) -> None:
    """A file that is missing in S3, a record that is not complete, files of a job that failed."""
    without = {key: text for key, text in whole.objects.items() if "report" not in key}
    assert any("not in S3: ['report.html']" in text for text in judge(replace(whole, objects=without)))
    half = {**whole.objects, "job-01/j/run.json": '{"status": "running"}'}
    assert any("is not complete" in text for text in judge(replace(whole, objects=half)))
    failed = {"j": replace(whole.jobs["j"], fate="doomed")}
    assert any("has files in S3" in text for text in judge(replace(whole, jobs=failed)))


def test_what_is_left_is_found(whole: Evidence) -> None:
    """Messages, processes, faults that did not happen, two processes at one job, and a worker without goodbye."""
    spoiled = replace(whole, messages={"high": 1}, processes=["1: python"], left=[Fault(2, "freeze", 3)])
    assert len(judge(spoiled)) == 3
    gone: Any = SimpleNamespace(
        instance_id="i-1", why_gone=None, gave_up=lambda: False, process=SimpleNamespace(returncode=0)
    )
    found = judge(replace(whole, members=[gone], instances={"i-1": {"status": "RUNNING"}}))
    assert found == ["worker i-1 went and its row says RUNNING"]
    whole.journal.steps.append(Step("j", 1, 4, 101, "i-1", BEGAN.timestamp() + 20.5))
    assert any("trained in turn" in text for text in judge(whole))
