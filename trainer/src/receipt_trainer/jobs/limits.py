"""Limits of a job, or of all trials of a sweep together: hours of instance time and dollars.

Attempts count from claim to end, however they ended. An attempt with an unknown price counts at the list price
that was known when the job was submitted; where there is none, only the hours bound it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract import cost, tables
from receipt_trainer.contract.tables import JOB_SK, SWEEP_SK, job_pk, sweep_pk
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.model import OWNED, Job
from receipt_trainer.jobs.rows import JOURNAL, TRIALS, attempts_of, partition_rows

_ATTEMPT: Final = ("started_at", "ended_at", "price_usd_per_h", "instance_type")
_JOB: Final = ("job_id", "status", "attempt", "lease_expires_at", "list_prices")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds; None: no such bound."""

    max_hours: float | None = None
    max_usd: float | None = None

    def __bool__(self) -> bool:
        return self.max_hours is not None or self.max_usd is not None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Limits:
        """Those in a resolved spec, or in the row of a job or a sweep; what is no positive number is no bound."""
        return cls(_positive(values.get("max_hours")), _positive(values.get("max_usd")))

    def known(self) -> dict[str, float]:
        """Those that are set."""
        both = {"max_hours": self.max_hours, "max_usd": self.max_usd}
        return {name: value for name, value in both.items() if value is not None}

    def over(self, below: Limits) -> Limits:
        """These, and of `below` what they leave unset."""
        return Limits(**{**below.known(), **self.known()})

    def text(self) -> str:
        """`max_hours 2, max_usd 3.5`."""
        return ", ".join(f"{name} {value:g}" for name, value in self.known().items())

    def named_in(self, reason: str | None) -> str | None:
        """The limit of which `Reached.said` says so at the beginning of a reason; None if it does not."""
        return next((name for name in self.known() if (reason or "").startswith(f"reached {name} ")), None)

    def doubled(self, name: str) -> str:
        """The flag that gives twice as much."""
        return f"--{name.replace('_', '-')} {2 * self.known()[name]:g}"


class Reached(NamedTuple):
    """`max_hours 2 (2.01 h of instance time)`, the command that gives twice as much, and why the job is stopped."""

    bound: str
    resume: str
    said: str


def reached(limits: Limits, spent: Spending, *, job: str = "", sweep: str | None = None) -> Reached | None:
    """The limit of a job or a sweep that is reached; None if none is."""
    name = spent.reached(limits)
    if name is None:
        return None
    whose, command = ("", f"retry {job}") if sweep is None else (f"sweep '{sweep}' ", f"sweep --resume {sweep}")
    used = f"{spent.seconds / 3600:.2f} h of instance time" if name == "max_hours" else f"${spent.usd:.2f}"
    bound = f"{name} {limits.known()[name]:g} ({used})"
    resume = f"receipt-trainer {command} {limits.doubled(name)}"
    return Reached(bound, resume, f"{whose}reached {bound}; {resume} resumes")


def of_job(job: Job) -> Limits:
    """Those of a job itself."""
    return Limits.read(job.spec)


def of_row(row: Mapping[str, Any]) -> dict[str, float | None]:
    """`max_hours` and `max_usd` of a job by its row, None where it has none; for people and scripts."""
    return {"max_hours": None, "max_usd": None} | Limits.read(row).known()


def with_limits(job: Job, given: Limits) -> Job:
    """The job with these limits over its own; the very same one if nothing changes."""
    wanted = given.over(of_job(job))
    return job if wanted == of_job(job) else replace(job, spec={**job.spec, **wanted.known()})


def sweep_of(job: Job) -> str | None:
    """The sweep that a job is a trial of, by the tags that a sweep gives its jobs."""
    return job.tags.get("sweep") if "trial" in job.tags and "seed" in job.tags else None


@dataclass(frozen=True, slots=True)
class Spending:
    """Seconds and dollars so far, of attempts whose price is known, and what those of them that run cost an hour."""

    seconds: float = 0.0
    usd: float = 0.0
    num_running: int = 0
    usd_per_h: float = 0.0
    num_unpriced: int = 0

    def __add__(self, other: Spending) -> Spending:
        return Spending(*(own + more for own, more in zip(astuple(self), astuple(other), strict=True)))

    def reached(self, limits: Limits) -> str | None:
        """The name of the limit that is reached; None if none is."""
        if limits.max_hours is not None and self.seconds >= limits.max_hours * 3600:
            return "max_hours"
        return "max_usd" if limits.max_usd is not None and self.usd >= limits.max_usd else None

    def left_s(self, limits: Limits) -> float:
        """Seconds until a limit is reached if nothing else begins; infinite if that is never."""
        left = [math.inf]
        if limits.max_hours is not None and self.num_running:
            left.append((limits.max_hours * 3600 - self.seconds) / self.num_running)
        if limits.max_usd is not None and self.usd_per_h > 0:
            left.append((limits.max_usd - self.usd) / self.usd_per_h * 3600)
        return max(0.0, min(left))


def spending_of(attempts: Sequence[Mapping[str, Any]], job: Mapping[str, Any], now: datetime) -> Spending:
    """Of ATTEMPT rows in their order, and the `status`, `lease_expires_at` and `list_prices` of the job's row."""
    prices = cost.read_prices(job.get("list_prices"))
    until = cost.open_until(now, job.get("lease_expires_at"))
    spent = cost.of_attempts(attempts, until, lambda row: prices.get(str(row.get("instance_type"))))
    last = attempts[-1] if attempts and job.get("status") in OWNED and not attempts[-1].get("ended_at") else None
    price = None if last is None else cost.price_and_source(last, lambda row: prices.get(str(row["instance_type"])))[0]
    return Spending(spent.seconds, spent.usd or 0.0, int(last is not None), price or 0.0, spent.num_unknown)


def read_spending(table: Table, jobs: Sequence[str], now: datetime, *, but: str | None = None) -> Spending:
    """Consumption of these jobs; `but`: one whose newest attempt its worker counts by a clock of its own."""
    keys = [{"PK": job_pk(job_id), "SK": JOB_SK} for job_id in dict.fromkeys(jobs)]
    found = dynamo.batch_get(*table, "read what jobs have taken", keys, _JOB)
    newest = {str(row["job_id"]): int(row.get("attempt") or 0) - (row["job_id"] == but) for row in found}
    attempts = attempts_of(table, newest, _ATTEMPT)
    total = Spending()
    for row in found:
        job = row | {"status": None, "lease_expires_at": None} if row["job_id"] == but else row
        total += spending_of(attempts[str(row["job_id"])], job, now)
    return total


def read_sweep(table: Table, name: str) -> tuple[Limits, list[str]]:
    """The limits of a sweep, and the ids of its jobs if it has any limit."""
    where = (table, sweep_pk(name))
    own = next(partition_rows(*where, SWEEP_SK, f"read sweep {name}"), None)
    limits = Limits() if own is None else Limits.read(own)
    if not limits:
        return limits, []
    job_ids: dict[str, None] = {}
    for prefix in (TRIALS, JOURNAL):  # version 0.1.0 stored a row for each trial
        for row in partition_rows(*where, prefix, f"read sweep {name}", attributes=["job_ids"]):
            job_ids |= dict.fromkeys(map(str, row.get("job_ids") or ()))
    return limits, list(job_ids)


def require_room(table: Table, job: Job, now: datetime) -> None:
    """Refuse to try again what would be stopped at once: a UserError that says how to raise the limit."""
    if job.undelivered_since is not None:  # all that is left is to deliver its run, which no limit forbids
        return
    if limits := of_job(job):
        spent = read_spending(table, [job.job_id], now)
        if (own := reached(limits, spent, job=job.job_id)) is not None:
            raise UserError(f"job {job.job_id} has reached its {own.bound}; give it more: {own.resume}")
    if (sweep := sweep_of(job)) is not None:
        limits, job_ids = read_sweep(table, sweep)
        spent = read_spending(table, job_ids, now) if limits else Spending()
        if (all_ := reached(limits, spent, sweep=sweep)) is not None:
            whose = f"job {job.job_id} is of sweep '{sweep}', which has reached its {all_.bound}"
            raise UserError(f"{whose}; give it more: {all_.resume}")


def _positive(value: object) -> float | None:
    number = tables.to_float(value)
    return number if number is not None and 0 < number < math.inf else None
