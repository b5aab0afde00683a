"""Notices of jobs: the transaction that ends a job writes its notice, which a function of the stack sends."""

from __future__ import annotations

from receipt_trainer.aws import dynamo
from receipt_trainer.contract.notices import HELD, Notice
from receipt_trainer.jobs import limits
from receipt_trainer.jobs.changes import Change
from receipt_trainer.jobs.lifecycle import TERMINAL, Job


def notice_of(job: Job, change: Change) -> Notice | None:
    """What a change of a job's state is to tell; None if it is no end, or if the job asks for no notice.

    Args:
        job: as it was read.
        change: what becomes of it.
    """
    held_reason = change.sets.get("held_reason") if change.to == "INTERRUPTED" else None
    if job.spec.get("notify") is not True or (change.to not in TERMINAL and held_reason is None):
        return None
    return Notice(
        job_id=job.job_id,
        name=job.name,
        state=HELD if held_reason is not None else change.to,
        at=change.at,
        reason=held_reason or change.reason,
        list_prices=job.list_prices,
        f1=dynamo.to_float(change.sets.get("f1")),
        retry_flag=_retry_flag(job, change),
    )


def _retry_flag(job: Job, change: Change) -> str | None:
    """The flag without which `retry` refuses a job that was stopped at its limit."""
    own = limits.of_job(job)
    name = own.named_in(change.reason) if change.to == "FAILED" else None
    return None if name is None else own.doubled(name)
