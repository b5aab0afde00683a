"""Rules for changes of a job's state, and the values that each writes: pure, without clock and table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from receipt_trainer.contract.tables import checkpoint_sk, iso
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.model import MAX_PAUSE_S, OWNED, TERMINAL, WAITING, Attempt, Job, Outcome, State, spec_values

REASON_LENGTH: Final = 4000
"""Characters of a reason that are kept; an item ends at 400 kB."""

_OF_AN_ATTEMPT: Final = ("worker_id", "lease_expires_at", "message_id")
"""Attributes of a job's row that only a claimed job has."""


@dataclass(frozen=True, slots=True)
class Change:
    """The changes of a job's row and of the rows beside it. An attribute that is set to None is removed.

    Attributes:
        reason: why, if there is more to say than the states do.
        worker_id: the worker that changes it, if it is one.
        sets, removes: attributes of the job's row.
        needs_same_lease: the change is right only if the lease has not been renewed meanwhile.
        attempts: number -> attributes of its row to set; the row is made if it is not there.
        updates: sort key -> attributes of a further row of the job to set; it is made if it is not there.
    """

    to: State
    at: str
    reason: str | None = None
    worker_id: str | None = None
    sets: Mapping[str, Any] = field(default_factory=dict)
    removes: tuple[str, ...] = ()
    needs_same_lease: bool = False
    attempts: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    updates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def claimed(
    job: Job, claim: Claim, given: Attempt, instance: Mapping[str, Any], now: datetime, message_id: str | None = None
) -> Change:
    """The job is the worker's; an attempt whose lease ran out is LOST in the same stroke."""
    begun = {**instance, "worker_id": given.worker_id, "started_at": iso(now)}
    return Change(
        "CLAIMED",
        iso(now),
        reason=f"the lease of {job.worker_id} ran out" if claim.is_takeover else None,
        worker_id=given.worker_id,
        sets={
            "attempt": given.number,
            "worker_id": given.worker_id,
            "lease_expires_at": iso(given.lease_expires_at),
            "message_id": message_id,
            "num_lost": job.num_lost + claim.is_takeover,
            "next_try_at": None,
            "checkpoints_gone_at": None,
            "reason": None,
        },
        needs_same_lease=claim.is_takeover,
        attempts={**_lost(job, "CLAIMED", now), given.number: begun},
    )


def started(attempt: Attempt, start_step: int, now: datetime) -> Change:
    """Training begins."""
    return Change(
        "RUNNING", iso(now), worker_id=attempt.worker_id, attempts={attempt.number: {"start_step": start_step}}
    )


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How an attempt ended, as its worker says.

    Attributes:
        checkpoint_step: step of the checkpoint that it left.
        first_pause_s: its run is complete and could not be delivered: see `pause_s`; None: it is not that.
        is_limit: the job had taken as much as it may, which is no failed attempt.
        sets: attributes of the job's row: results.
    """

    outcome: Outcome
    reason: str | None = None
    checkpoint_step: int | None = None
    first_pause_s: int | None = None
    is_limit: bool = False
    sets: Mapping[str, Any] = field(default_factory=dict)


def ended(job: Job, attempt: Attempt, to: State, end: AttemptEnd, now: datetime) -> Change:
    """The attempt is over and leaves the job as `to`; a job that waits for its next try keeps no reason in its row.

    This is where a job becomes held: its change sets `held_reason`.
    """
    reason = storable(end.reason)
    over = {"ended_at": iso(now), "outcome": end.outcome, "reason": reason, "left": to}
    sets = {**end.sets, "reason": None if to == "PENDING" else reason}
    if end.outcome == "FAILED" and not end.is_limit:
        sets["num_failures"] = job.num_failures + 1
    if end.first_pause_s is not None and to == "INTERRUPTED":
        sets |= after_failed_try(job, now, end.first_pause_s, reason)
    updates: dict[str, Mapping[str, Any]] = {}
    if (step := end.checkpoint_step) is not None:  # the run itself has said more of it, unless that was lost
        own = {"TYPE": "JOB_CHECKPOINT", "job_id": attempt.job_id, "step": step, "attempt": attempt.number}
        updates[checkpoint_sk(step)] = {**own, "at": iso(now)}
    return Change(
        to,
        iso(now),
        reason=reason,
        worker_id=attempt.worker_id,
        sets=sets,
        removes=(*_OF_AN_ATTEMPT, *(ATTRIBUTES if to in TERMINAL else ())),
        attempts={attempt.number: {**over, "checkpoint_step": end.checkpoint_step}},
        updates=updates,
    )


def settled(job: Job, to: State, reason: str | None, now: datetime) -> Change:
    """A job that no worker holds ends."""
    is_abandoned = job.status in OWNED
    return Change(
        to,
        iso(now),
        reason=reason,
        sets={"reason": reason, "num_lost": job.num_lost + is_abandoned},
        removes=(*_OF_AN_ATTEMPT, *ATTRIBUTES),
        needs_same_lease=is_abandoned,
        attempts=_lost(job, to, now),
    )


def retried(to: State, now: datetime, spec: Mapping[str, Any] | None = None) -> Change:
    """A job that had ended begins anew, or one whose run is not delivered is due at once, with another spec if given.

    Its attempts stay, and numbering continues.
    """
    return Change(
        to,
        iso(now),
        reason="asked to try again",
        sets={"num_failures": 0, "num_lost": 0, **(spec_values(spec) if spec else {})},
        removes=("cancel_requested", "reason", "f1", "artifacts", "measured", *_OF_AN_ATTEMPT, *ATTRIBUTES),
    )


def _lost(job: Job, left: State, now: datetime) -> dict[int, dict[str, Any]]:
    """The row of the attempt whose worker vanished: it ended with its lease, as far as anybody knows."""
    if job.status not in OWNED:
        return {}
    ended_at = iso(min(now, job.lease_expires_at)) if job.lease_expires_at else None
    reason = f"worker {job.worker_id} was not heard of until its lease ran out"
    return {job.attempt: {"ended_at": ended_at, "outcome": "LOST", "reason": reason, "left": left}}


def storable(reason: str | None) -> str | None:
    """A reason as DynamoDB takes it: no half characters, and of a long one the end, which says most."""
    if reason is None:
        return None
    text = reason.encode("utf-8", "replace").decode()
    return text if len(text) <= REASON_LENGTH else f"... {text[4 - REASON_LENGTH :]}"


GIVEN_UP_AFTER: Final = timedelta(days=14)
"""From the first try that failed; then the job is held."""

ATTRIBUTES: Final = ("undelivered_since", "num_undelivered", "waits_for", "held_reason", "next_try_at")
"""Attributes of a job's row that only a complete run has which could not be delivered."""


def is_held(row: Mapping[str, Any]) -> bool:
    """Whether a job's row is that of a held one, see `Job.is_held`."""
    return row.get("status") == "INTERRUPTED" and bool(row.get("held_reason")) and not row.get("unreadable")


def is_over(row: Mapping[str, Any]) -> bool:
    """Whether a job's row is that of a job that no worker resumes by itself: it has ended, or it is held."""
    return row.get("status") in TERMINAL or is_held(row)


def pause_s(num_tries: int, first_s: int) -> int:
    """Seconds between a try that failed, of so many, and the next: doubled each time, six hours at most."""
    return int(min(first_s * 2 ** min(max(num_tries, 1) - 1, 20), MAX_PAUSE_S))


def after_failed_try(job: Job, now: datetime, first_pause_s: int, reason: str | None) -> dict[str, Any]:
    """`ATTRIBUTES` of a job whose complete run could not be delivered once more, for `reason`: it waits, or is held."""
    since, num_tries = min(job.undelivered_since or now, now), job.num_undelivered + 1
    tried = {"undelivered_since": iso(since), "num_undelivered": num_tries}
    if now - since < GIVEN_UP_AFTER:
        next_try_at = now + timedelta(seconds=pause_s(num_tries, first_pause_s))
        return {**tried, "next_try_at": iso(next_try_at), "waits_for": reason, "held_reason": None}
    held_reason = f"its complete run could not be delivered for {GIVEN_UP_AFTER.days} days; the last try: {reason}"
    return {**tried, "next_try_at": None, "waits_for": None, "held_reason": held_reason}


RefusalKind = Literal["not there", "leased", "done", "cancelled", "held", "too early"]


MAX_LOST: Final = 10
"""Vanished workers after which a job has failed: it may be what kills them (memory), and must not do so for ever."""


_MAY: Final[Mapping[State, frozenset[State]]] = {
    "PENDING": frozenset({"CLAIMED", "CANCELLED"}),
    "CLAIMED": frozenset({"RUNNING", "CLAIMED", "INTERRUPTED", "PENDING", "SUCCEEDED", "FAILED", "CANCELLED"}),
    "RUNNING": frozenset({"CLAIMED", "INTERRUPTED", "PENDING", "SUCCEEDED", "FAILED", "CANCELLED"}),
    "INTERRUPTED": frozenset({"CLAIMED", "INTERRUPTED", "CANCELLED"}),
    "SUCCEEDED": frozenset(),
    "FAILED": frozenset({"PENDING"}),
    "CANCELLED": frozenset({"PENDING"}),
}


def may(before: State, after: State) -> bool:
    """Whether a job may go from one state to the other.

    CLAIMED and RUNNING to CLAIMED: over an expired lease; INTERRUPTED to itself: its run is to be delivered at once.
    """
    return after in _MAY[before]


@dataclass(frozen=True, slots=True)
class Claim:
    """The job may be claimed, as attempt `number`; a takeover leaves the earlier one, whose lease has run out, LOST."""

    number: int
    is_takeover: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """The job may not be claimed.

    Attributes:
        kind: "leased": another worker has it; "done": SUCCEEDED or FAILED; "cancelled"; "not there": no such job;
            "held": see `Job.is_held`; "too early": the next try to deliver its run is later.
        status: the job's state; None if it is not there.
        lease_expires_at: of a leased job, when it may be claimed at last.
        message_id: of a leased job, the message that its worker has; None: not known.
        next_try_at: of one that is tried later, when.
        settles: the state in which the refused claim leaves the job, if that is another one: CANCELLED where a
            cancelled job's worker vanished, FAILED where too many did; `reason` says why.
    """

    kind: RefusalKind
    status: State | None = None
    lease_expires_at: datetime | None = None
    next_try_at: datetime | None = None
    settles: State | None = None
    reason: str | None = None
    message_id: str | None = None


def decide_claim(job: Job, now: datetime, broken_lease: datetime | None = None) -> Claim | Refusal:
    """What a worker that has the job's message may do; for `broken_lease` see `receipt_trainer.worker.loop`."""
    if job.status in TERMINAL:
        return Refusal("cancelled" if job.status == "CANCELLED" else "done", job.status)
    if job.is_leased(now) and job.lease_expires_at != broken_lease:
        return Refusal("leased", job.status, job.lease_expires_at, message_id=job.message_id)
    is_takeover = job.status in OWNED
    if job.cancel_requested:
        reason = "cancelled on request; its worker had vanished" if is_takeover else "cancelled on request"
        return Refusal("cancelled", job.status, settles="CANCELLED", reason=reason)
    if is_takeover and job.num_lost + 1 >= MAX_LOST:
        reason = f"{MAX_LOST} workers vanished while they had this job; it may need more memory than they have"
        return Refusal("done", job.status, settles="FAILED", reason=reason)
    if job.is_held:
        return Refusal("held", job.status)
    if job.is_paused(now):
        return Refusal("too early", job.status, next_try_at=job.next_try_at)
    return Claim(job.attempt + 1, is_takeover)


def after_failure(job: Job, *, final: bool = False) -> State:
    """Where one more failed attempt leaves the job; `final`: another one would fail as well (a mistake in the job)."""
    if job.cancel_requested:
        return "CANCELLED"
    return "FAILED" if final or job.num_failures + 1 >= job.max_failures else "PENDING"


def after_interruption(job: Job) -> State:
    """Where an attempt that had to go, or could not deliver its complete run, leaves the job."""
    return "CANCELLED" if job.cancel_requested else "INTERRUPTED"


def after_cancel(job: Job, now: datetime) -> State | None:
    """Where a request to cancel leaves the job; None: its worker is asked to end it. UserError: it has ended."""
    if job.queue_url is None and job.status not in TERMINAL:
        raise UserError(f"job {job.job_id} runs without a queue; stop it where it runs")
    if job.status in ("SUCCEEDED", "FAILED"):
        raise UserError(f"job {job.job_id} is {job.status}; there is nothing to cancel")
    return None if job.is_leased(now) and not job.is_lease_impossible(now) else "CANCELLED"


def after_retry(job: Job, now: datetime) -> State:
    """Where a request to try again leaves the job; a waiting one, and a held one, keep their state.

    Raises:
        UserError: it runs, it has succeeded, or no queue knows it.
    """
    if job.queue_url is None:
        raise UserError(f"job {job.job_id} was not submitted to a queue; run it again where it ran")
    if job.status in OWNED:
        cancel = f"job {job.job_id} is {job.status} on {job.worker_id}; cancel it first"
        if job.is_lease_impossible(now):
            raise UserError(f"{cancel}: its lease lies further ahead than any clock allows, so it ends at once")
        raise UserError(cancel)
    if job.status == "SUCCEEDED":
        raise UserError(f"job {job.job_id} has SUCCEEDED; submit it as a new job to train again")
    return job.status if job.status in WAITING else "PENDING"
