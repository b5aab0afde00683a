"""Spending since midnight (UTC): by instances, from their rows, and by jobs, from their attempts.

Instances count from the start of their worker to its end; the minutes of the boot before it, volumes, files and
network are not in it. Jobs count the time of their attempts alone, so their sum is less than what instances cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract import cost, tables
from receipt_trainer.contract.tables import iso
from receipt_trainer.jobs.instances import Instance
from receipt_trainer.jobs.rows import ATTEMPTS, STATES, Wanted, find, find_changed, rows_of

ACTIVE: Final = ("CLAIMED", "RUNNING")


@dataclass(frozen=True, slots=True)
class JobSpend:
    """Today's cost of one job's attempts."""

    job_id: str
    name: str
    status: str
    pool: str | None
    cost: cost.Cost


def midnight_before(now: datetime) -> datetime:
    """Where today began, in the zone of `now`."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def read_job_spend(table: Table, now: datetime, list_price: cost.ListPrice | None = None) -> list[JobSpend]:
    """Jobs that had an attempt today, the dearest first: a query a state, and one for each job of today."""
    since, found = midnight_before(now), []
    for row in _jobs_of_today(table, since):
        attempts = rows_of(table, row["job_id"], ATTEMPTS)
        if today := clipped(list(attempts), since, cost.open_until(now, row.get("lease_expires_at"))):
            spent = cost.of_attempts(today, now, list_price)
            found.append(JobSpend(row["job_id"], str(row["name"]), str(row["status"]), row.get("pool"), spent))
    return sorted(found, key=lambda one: (-(one.cost.usd or 0.0), -one.cost.seconds, one.job_id))


def _jobs_of_today(table: Table, since: datetime) -> list[dynamo.Item]:
    """Of what ended or changed before today nothing can be of today, but for jobs that run still; nor can anything of
    a job that no worker has claimed yet."""
    running = [row for status in ACTIVE for row in find(table, Wanted(status=status))]
    changed = find_changed(table, since, [state for state in STATES if state not in ACTIVE])
    # By its id, for a job that changes its state meanwhile is found twice; the running one has the end of the lease.
    return list({row["job_id"]: row for row in [*changed, *running] if row.get("attempt")}.values())


def clipped(attempts: Sequence[Mapping[str, Any]], since: datetime, now: datetime) -> list[dict[str, Any]]:
    """The attempts' part after `since`, as rows; those that ended before are left out."""
    kept = []
    for row, (spent_s, *_) in zip(attempts, cost.of_each(attempts, now), strict=True):
        began = tables.moment(row.get("started_at"))
        if began is None or spent_s is None:
            continue
        ended = began + timedelta(seconds=spent_s)
        if ended > since:
            kept.append({**row, "started_at": iso(max(began, since)), "ended_at": iso(ended)})
    return kept


@dataclass(frozen=True, slots=True)
class InstanceSpend:
    """Today's cost of instances; `usd` of those with a known price, None if no price is known."""

    seconds: float
    usd: float | None
    num_instances: int
    num_unknown: int
    num_at_list_price: int


def instance_spend(instances: Iterable[Instance], now: datetime) -> InstanceSpend:
    """The sum over instances of the table; what is not known of one is not guessed."""
    since = midnight_before(now)
    times = [(one, spent_s) for one in instances if (spent_s := _seconds(one, since, now)) > 0]
    spent = cost.total(
        cost.Part(s, None if one.price_usd_per_h is None else s * one.price_usd_per_h / 3600, one.is_list_price)
        for one, s in times
    )
    return InstanceSpend(spent.seconds, spent.usd, spent.num_attempts, spent.num_unknown, spent.num_at_list_price)


def _seconds(one: Instance, since: datetime, now: datetime) -> float:
    """From its worker's start, or midnight, to its end; to its last heartbeat if it is late, for it may be gone."""
    began = tables.moment(one.started_at)
    if one.instance_type is None or began is None:
        return 0.0  # a laptop, or a boot that failed before it said what it ran on
    last = tables.moment(one.ended_at) or (tables.moment(one.seen_at) if one.is_late(now) else None) or now
    return (min(last, now) - max(began, since)).total_seconds()
