"""Whatever happens on the way, the way back is gone; told to an account that fails where it is asked to."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from receipt_trainer.aws.dynamo import Item
from tests.end_to_end import leftovers, results
from tests.end_to_end.journey import (
    JobNow,
    Journey,
    JourneyError,
    LeftBehindError,
    Leftover,
    OverspentError,
)
from tests.end_to_end.meter import Sight

FIRST = {"attempt": 1, "instance_id": "i-1", "outcome": None}
STATES = (
    JobNow("PENDING", "", [], []),
    JobNow("RUNNING", "", [FIRST], [10]),
    JobNow("RUNNING", "", [FIRST], [20]),
    JobNow("INTERRUPTED", "", [FIRST | {"outcome": "INTERRUPTED"}], [30]),
    JobNow("SUCCEEDED", "", [FIRST | {"outcome": "INTERRUPTED"}, {"instance_id": "i-2"}], [60]),
)
LOG_GROUP = Leftover("log group", "/x", "aws logs delete-log-group --log-group-name /x")


@dataclass
class Scripted:
    """An account of which nothing is real: `fails` names a method and what it raises."""

    fails: dict[str, BaseException] = field(default_factory=dict)
    states: tuple[JobNow, ...] = STATES
    usd_per_h: float | None = 0.2
    left: list[Leftover] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    now: float = 0.0

    def _call(self, name: str) -> None:
        self.called.append(name)
        if name in self.fails:
            raise self.fails[name]

    def __getattr__(self, name: str) -> Any:
        if name not in ("preflight", "up", "fill", "submit", "interrupt", "destroy"):
            raise AttributeError(name)
        return lambda *_: self._call(name) or name

    def sights(self) -> list[Sight]:
        self._call("sights")
        is_there = "submit" in self.called and "results" not in self.called
        return [Sight("i-1", 0.0, self.usd_per_h)] if is_there else []

    def job(self, job_id: str) -> JobNow:
        self._call("job")
        return self.states[min(self.called.count("job"), len(self.states)) - 1]

    def results(self, job_id: str) -> tuple[str, list[str]]:
        self._call("results")
        return "read", []

    def leftovers(self) -> list[Leftover]:
        self._call("leftovers")
        return self.left

    def by_hand(self) -> list[str]:
        return ["pulumi destroy"]

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def go(account: Scripted, max_usd: float = 2.0) -> list[str]:
    """What was said on a journey."""
    said: list[str] = []
    try:
        Journey(account, max_usd, say=said.append, clock=lambda: account.now, sleep=account.sleep).run()
    finally:
        account.called.append("said: " + " / ".join(said))
    return said


def test_the_whole_way() -> None:
    """All steps in their order, each line with its time and dollars."""
    said = go(account := Scripted())
    steps = [name for name in account.called if name not in ("sights", "job")]
    assert steps[:6] == ["preflight", "up", "fill", "submit", "interrupt", "results"]
    assert steps[6:8] == ["destroy", "leftovers"]
    assert said[0] == "  0:00  $0.02  preflight"
    assert said[-1].endswith("done: nothing that costs is left")


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt(), SystemExit(143)], ids=repr)
@pytest.mark.parametrize("step", ["up", "sights", "fill", "submit", "job", "interrupt", "results"])
def test_whatever_fails_all_is_destroyed(step: str, error: BaseException) -> None:
    """A fault of any kind in any step, Ctrl-C too: destroyed once, looked at, and the fault comes out as it was."""
    account = Scripted(fails={step: error})
    with pytest.raises(type(error)):
        go(account)
    assert account.called.count("destroy") == 1
    assert account.called[-2] == "leftovers"
    assert f"turning back: {type(error).__name__}" in account.called[-1]


def test_what_is_refused_at_first_needs_no_way_back() -> None:
    """Where nothing was made nothing is destroyed: it may be another's."""
    account = Scripted(fails={"preflight": JourneyError("no credentials")})
    with pytest.raises(JourneyError, match="no credentials"):
        go(account)
    assert "destroy" not in account.called


@pytest.mark.parametrize(("usd_per_h", "max_usd"), [(1e6, 2.0), (0.2, 0.13), (None, 0.13)])
def test_the_limit_destroys(usd_per_h: float | None, max_usd: float) -> None:
    """At a price, or a limit, that does not go together, also where no price is known."""
    account = Scripted(usd_per_h=usd_per_h, states=(STATES[0],))
    with pytest.raises(OverspentError, match="way back"):
        go(account, max_usd)
    assert "destroy" in account.called


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ((STATES[0],), "the first checkpoint: not within 40 minutes"),
        ((STATES[1],), "the job is handed back: not within 15 minutes"),
        ((STATES[0], JobNow("FAILED", "no wheels", [], [])), "the job is FAILED: no wheels"),
        ((STATES[1], JobNow("SUCCEEDED", "", [FIRST], [60])), "before the job is handed back: the job is SUCCEEDED"),
    ],
)
def test_a_job_that_does_not_go_its_way_ends_it(states: tuple[JobNow, ...], words: str) -> None:
    """Each wait has its limit, and a job that has ended is not waited for."""
    account = Scripted(states=states)
    with pytest.raises(JourneyError, match=words):
        go(account, 1e9)
    assert "destroy" in account.called


@pytest.mark.parametrize("fails", [{}, {"destroy": JourneyError("a dependency")}, {"fill": RuntimeError("broken")}])
def test_what_is_left_is_named_last(fails: dict[str, BaseException]) -> None:
    """Something that costs, after a destroy that failed or not: the way by hand, the thing, the command."""
    account = Scripted(fails=fails, left=[LOG_GROUP])
    with pytest.raises(LeftBehindError, match="pulumi destroy"):
        go(account)
    assert f"log group /x: {LOG_GROUP.command}" in account.called[-1]


def test_a_way_back_that_cannot_be_seen_says_so() -> None:
    """Neither destroyed nor looked at, as without a network: the way by hand is said nevertheless."""
    account = Scripted(fails={"destroy": OSError("no network"), "leftovers": OSError("no network")})
    with pytest.raises(LeftBehindError, match="pulumi destroy"):
        go(account)


@pytest.mark.parametrize("kind", leftovers.KINDS)
def test_the_command_that_removes_is_one_of_the_aws_cli(kind: str) -> None:
    """With a name in it, it is a call that AWS has, with exactly options of that call."""
    words = shlex.split(leftovers.KINDS[kind][1].format("x").partition("  (")[0])
    service = botocore.session.get_session().get_service_model({"s3api": "s3"}.get(words[1], words[1]))
    operation = service.operation_model(next(it for it in service.operation_names if xform_name(it, "-") == words[2]))
    members = {xform_name(member, "-") for member in operation.input_shape.members}
    assert {word[2:] for word in words if word.startswith("--")} <= members


def loss(step: int, value: float = 1.0, attempt: int = 1) -> Item:
    return {"step": step, "value": value, "attempt": attempt}


SECOND = {"instance_id": "i-2", "start_step": 2, "outcome": "SUCCEEDED"}
GONE = FIRST | {"outcome": "INTERRUPTED", "checkpoint_step": 2}
CURVE = [loss(1), loss(2), loss(3, attempt=2)]


@pytest.mark.parametrize(
    ("attempts", "curve", "words"),
    [
        ([GONE, SECOND], CURVE, ""),
        ([GONE, SECOND], [*CURVE[:2], loss(2, 1.0001, attempt=2), CURVE[2]], ""),
        ([GONE], CURVE, "not two"),
        ([GONE, SECOND | {"start_step": 0}], CURVE, "began at step 0"),
        ([GONE, SECOND | {"instance_id": "i-1"}], CURVE, "both attempts ran on i-1"),
        ([GONE | {"outcome": "LOST", "reason": "?"}, SECOND], CURVE, "outcome is LOST"),
        ([GONE, SECOND], [*CURVE, loss(2, 1.5, attempt=2)], "step 2 has two losses"),
        ([GONE, SECOND], [loss(2), loss(1), loss(3)], "go back"),
        ([GONE, SECOND], CURVE[:2], "ends at step 2 of 3"),
    ],
)
def test_a_curve_that_does_not_go_on_is_found(attempts: list[dict[str, Any]], curve: list[Item], words: str) -> None:
    """A resumed job began where the last checkpoint was, on another instance, and no step has two losses."""
    found = results.problems(attempts, curve, 3, None, results.FILES)
    assert words in "; ".join(found)
    assert bool(found) == bool(words), found
