"""The state machine, without clock or table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from receipt_trainer.errors import UserError
from receipt_trainer.jobs import model, state_machine
from receipt_trainer.jobs.model import OWNED, TERMINAL, WAITING, Job, State
from receipt_trainer.jobs.state_machine import MAX_LOST, Claim, Refusal

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
STATES: tuple[State, ...] = get_args(State)


def job(status: State, lease_s: float | None = None) -> Job:
    """A job of three attempts so far, whose lease ends so many seconds from now."""
    until = None if lease_s is None else NOW + timedelta(seconds=lease_s)
    return Job("j", "n", status, attempt=3, queue_url="q", worker_id="w", lease_expires_at=until)


def test_every_state_is_of_one_kind() -> None:
    """A job waits, is owned, or has ended: no state is two of these or none."""
    assert sorted([*WAITING, *OWNED, *TERMINAL]) == sorted(STATES)


def test_an_ended_job_only_begins_anew() -> None:
    """From FAILED and CANCELLED a job goes back to PENDING only, from SUCCEEDED nowhere."""
    reached = {before: {after for after in STATES if state_machine.may(before, after)} for before in TERMINAL}
    assert reached == {"SUCCEEDED": set(), "FAILED": {"PENDING"}, "CANCELLED": {"PENDING"}}


@pytest.mark.parametrize("status", sorted(WAITING))
def test_a_waiting_job_is_claimed_with_the_next_number(status: State) -> None:
    """The fencing token grows by one."""
    assert state_machine.decide_claim(job(status), NOW) == Claim(4, is_takeover=False)


@pytest.mark.parametrize("status", sorted(OWNED))
def test_a_lease_holds_until_its_last_instant(status: State) -> None:
    """Before its end a claim is refused and told when to come back; at its end the job is taken over."""
    refusal = state_machine.decide_claim(job(status, 0.000001), NOW)
    assert isinstance(refusal, Refusal)
    assert (refusal.kind, refusal.lease_expires_at) == ("leased", NOW + timedelta(microseconds=1))
    assert state_machine.decide_claim(job(status, 0), NOW) == Claim(4, is_takeover=True)


@pytest.mark.parametrize(("status", "kind"), [("SUCCEEDED", "done"), ("FAILED", "done"), ("CANCELLED", "cancelled")])
def test_an_ended_job_is_refused(status: State, kind: str) -> None:
    """The worker learns why, and the job stays as it is."""
    refusal = state_machine.decide_claim(job(status), NOW)
    assert isinstance(refusal, Refusal)
    assert (refusal.kind, refusal.settles) == (kind, None)


def test_a_cancelled_job_whose_worker_vanished_is_not_trained_again() -> None:
    """The next worker that wants it only cancels it."""
    refusal = state_machine.decide_claim(replace(job("RUNNING", -1), cancel_requested=True), NOW)
    assert isinstance(refusal, Refusal)
    assert refusal.settles == "CANCELLED"


def test_a_job_that_kills_its_workers_fails_in_the_end() -> None:
    """After MAX_LOST vanished workers a job is FAILED instead of killing one more."""
    assert isinstance(state_machine.decide_claim(replace(job("RUNNING", -1), num_lost=MAX_LOST - 2), NOW), Claim)
    refusal = state_machine.decide_claim(replace(job("RUNNING", -1), num_lost=MAX_LOST - 1), NOW)
    assert isinstance(refusal, Refusal)
    assert refusal.settles == "FAILED"


def test_a_held_job_does_not_wait() -> None:
    """Only an INTERRUPTED job is held; it keeps its moments and reason in its row, and a row of 0.1.0 has none."""
    held = replace(job("INTERRUPTED"), undelivered_since=NOW, num_undelivered=3, next_try_at=NOW, held_reason="refused")
    assert (held.is_held, held.is_waiting) == (True, False)
    assert Job.from_row(held.to_row()) == held
    assert [replace(held, status=status).is_held for status in STATES if status != "INTERRUPTED"] == [False] * 6
    plain = Job.from_row(job("INTERRUPTED").to_row())
    assert (plain.is_held, plain.is_waiting, plain.num_undelivered) == (False, True, 0)


def test_an_attempt_that_had_to_go_leaves_its_job_waiting_however_often() -> None:
    """Only a request to cancel ends it: neither interruptions nor tries to deliver are counted against it."""
    worn = replace(job("RUNNING"), num_lost=MAX_LOST, num_failures=2, num_undelivered=1000)
    assert state_machine.after_interruption(worn) == "INTERRUPTED"
    assert state_machine.after_interruption(replace(worn, cancel_requested=True)) == "CANCELLED"


def test_a_held_job_is_not_claimed() -> None:
    """Its message is one too many; a request to cancel comes first."""
    refusal = state_machine.decide_claim(replace(job("INTERRUPTED"), held_reason="refused"), NOW)
    assert isinstance(refusal, Refusal)
    assert (refusal.kind, refusal.settles) == ("held", None)


def test_nobody_tries_to_deliver_before_the_time() -> None:
    """A message that comes early, of whatever kind, claims nothing; at the time the job is claimed."""
    later = NOW + timedelta(seconds=90)
    refusal = state_machine.decide_claim(replace(job("INTERRUPTED"), next_try_at=later), NOW)
    assert isinstance(refusal, Refusal)
    assert (refusal.kind, refusal.next_try_at) == ("too early", later)
    assert isinstance(state_machine.decide_claim(replace(job("INTERRUPTED"), next_try_at=later), later), Claim)


def test_a_try_further_off_than_any_pause_is_not_waited_for() -> None:
    """A clock that was a year ahead keeps no job from its delivery."""
    longest = NOW + timedelta(seconds=model.MAX_PAUSE_S)
    assert isinstance(state_machine.decide_claim(replace(job("INTERRUPTED"), next_try_at=longest), NOW), Refusal)
    wrong = longest + timedelta(seconds=1)
    assert isinstance(state_machine.decide_claim(replace(job("INTERRUPTED"), next_try_at=wrong), NOW), Claim)


def test_failures_count_to_the_limit() -> None:
    """Below the limit a failed job waits again; at it, or if the failure is final, it has failed."""
    below, at_limit = replace(job("RUNNING"), num_failures=1), replace(job("RUNNING"), num_failures=2)
    assert state_machine.after_failure(below) == "PENDING"
    assert state_machine.after_failure(below, final=True) == "FAILED"
    assert state_machine.after_failure(at_limit) == "FAILED"
    assert state_machine.after_failure(replace(below, cancel_requested=True)) == "CANCELLED"


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED"])
def test_what_has_ended_cannot_be_cancelled(status: State) -> None:
    """The user is told in which state it is."""
    with pytest.raises(UserError, match=status):
        state_machine.after_cancel(job(status), NOW)


def test_a_running_job_is_asked_and_a_waiting_one_cancelled() -> None:
    """Only a worker that holds the lease has to be asked."""
    assert state_machine.after_cancel(job("RUNNING", 1), NOW) is None
    assert state_machine.after_cancel(job("RUNNING", 0), NOW) == "CANCELLED"
    assert state_machine.after_cancel(job("INTERRUPTED"), NOW) == "CANCELLED"


def test_what_may_be_tried_again() -> None:
    """An ended job that did not succeed goes back to PENDING, a waiting one stays; others are refused."""
    assert (
        state_machine.after_retry(job("FAILED"), NOW) == state_machine.after_retry(job("CANCELLED"), NOW) == "PENDING"
    )
    assert state_machine.after_retry(job("INTERRUPTED"), NOW) == "INTERRUPTED"
    for status in ("RUNNING", "SUCCEEDED"):
        with pytest.raises(UserError, match=status):
            state_machine.after_retry(job(status, 1), NOW)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="not submitted to a queue"):
        state_machine.after_retry(replace(job("FAILED"), queue_url=None), NOW)


def test_a_row_reads_back_as_the_job() -> None:
    """Writing a job's row and reading it loses nothing; attributes of a newer version are ignored."""
    full = replace(job("RUNNING", 5), spec={"model": "tiny"}, tags={"a": "b"}, f1=0.5, cancel_requested=True)
    assert Job.from_row({**full.to_row(), "of_a_newer_version": 1}) == full
    assert full.to_row()["GSI1PK"] == "STATUS#RUNNING"
