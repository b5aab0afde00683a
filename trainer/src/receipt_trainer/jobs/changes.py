"""What each change of a job's state writes: plain values, made from the job as it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from receipt_trainer.contract.tables import checkpoint_sk
from receipt_trainer.jobs import delivery
from receipt_trainer.jobs.lifecycle import OWNED, TERMINAL, Attempt, Claim, Job, Outcome, State, spec_values
from receipt_trainer.jobs.metrics_writer import iso

REASON_LENGTH: Final = 4000
"""Characters of a reason that are kept; an item ends at 400 kB."""

_OF_AN_ATTEMPT: Final = ("worker_id", "lease_expires_at", "message_id")
"""Attributes of a job's row that only a claimed job has."""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a job's row and of the rows beside it. An attribute that is set to None is removed.

    Attributes:
        to: the new state.
        at: the moment, as `iso` writes it.
        reason: why, if there is more to say than the states do.
        worker_id: the worker that changes it, if it is one.
        sets: attributes of the job's row to set beside its state.
        removes: attributes of the job's row to remove.
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
class Ending:
    """How an attempt ended, as its worker says.

    Attributes:
        outcome: kept with the attempt.
        reason: why; None for success.
        checkpoint_step: step of the checkpoint that it left.
        first_pause_s: its run is complete and could not be delivered: see `delivery.pause_s`; None: it is not that.
        is_limit: the job had taken as much as it may, which is no failed attempt.
        sets: attributes of the job's row: results.
    """

    outcome: Outcome
    reason: str | None = None
    checkpoint_step: int | None = None
    first_pause_s: int | None = None
    is_limit: bool = False
    sets: Mapping[str, Any] = field(default_factory=dict)


def ended(job: Job, attempt: Attempt, to: State, ending: Ending, now: datetime) -> Change:
    """The attempt is over and leaves the job as `to`; a job that waits for its next try keeps no reason in its row.

    This is where a job becomes held: its change sets `held_reason`.
    """
    reason = storable(ending.reason)
    over = {"ended_at": iso(now), "outcome": ending.outcome, "reason": reason, "left": to}
    sets = {**ending.sets, "reason": None if to == "PENDING" else reason}
    if ending.outcome == "FAILED" and not ending.is_limit:
        sets["num_failures"] = job.num_failures + 1
    if ending.first_pause_s is not None and to == "INTERRUPTED":
        sets |= delivery.after_failed_try(job, now, ending.first_pause_s).sets(reason)
    updates: dict[str, Mapping[str, Any]] = {}
    if (step := ending.checkpoint_step) is not None:  # the run itself has said more of it, unless that was lost
        own = {"TYPE": "JOB_CHECKPOINT", "job_id": attempt.job_id, "step": step, "attempt": attempt.number}
        updates[checkpoint_sk(step)] = {**own, "at": iso(now)}
    return Change(
        to,
        iso(now),
        reason=reason,
        worker_id=attempt.worker_id,
        sets=sets,
        removes=(*_OF_AN_ATTEMPT, *(delivery.ATTRIBUTES if to in TERMINAL else ())),
        attempts={attempt.number: {**over, "checkpoint_step": ending.checkpoint_step}},
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
        removes=(*_OF_AN_ATTEMPT, *delivery.ATTRIBUTES),
        needs_same_lease=is_abandoned,
        attempts=_lost(job, to, now),
    )


def retried(to: State, now: datetime, spec: Mapping[str, Any] | None = None) -> Change:
    """A job that had ended begins anew, or one whose run is not delivered is due at once, with another spec if given.

    Its attempts stay, and their numbers go on.
    """
    return Change(
        to,
        iso(now),
        reason="asked to try again",
        sets={"num_failures": 0, "num_lost": 0, **(spec_values(spec) if spec else {})},
        removes=("cancel_requested", "reason", "f1", "artifacts", "measured", *_OF_AN_ATTEMPT, *delivery.ATTRIBUTES),
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
