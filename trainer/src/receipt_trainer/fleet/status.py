"""The fleet as it is now: each pool's group, queues, instances, prices, and what today cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.prices import ListPrices, SpotPrice, read_spot_prices
from receipt_trainer.contract import waiting_calls
from receipt_trainer.contract.waiting import Look
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.fleet.groups import Group, read_groups
from receipt_trainer.fleet.spend import InstanceSpend, JobSpend, instance_spend, read_job_spend
from receipt_trainer.jobs import queue
from receipt_trainer.jobs.instances import Instance, list_instances, with_list_prices
from receipt_trainer.jobs.queue import queue_faults

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

    from receipt_trainer.contract.outputs import PoolOutputs, StackOutputs


@dataclass(frozen=True, slots=True)
class Backlog:
    """Messages of one queue: that wait, and that a worker has. SQS's numbers are approximate."""

    num_waiting: int
    num_taken: int


@dataclass(frozen=True, slots=True)
class FleetInstance:
    """An instance as its group, or its worker, or both know it; `state` is None outside of the group."""

    instance_id: str
    state: str | None
    zone: str | None
    instance_type: str | None
    is_protected: bool
    is_late: bool
    worker: Instance | None


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """One pool; `spot_fault` says why there are no spot prices, an on-demand price that cannot be had is None."""

    pool: str
    market: str
    group: Group
    backlog: dict[str, Backlog]
    num_dead_letters: int
    instances: list[FleetInstance]
    spot: list[SpotPrice]
    spot_fault: str | None
    on_demand: dict[str, float | None]
    today: InstanceSpend


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The pools, jobs with an attempt today, why list prices are missing, and queues with fewer messages than jobs."""

    at: datetime
    pools: list[PoolStatus]
    jobs_today: list[JobSpend]
    list_price_fault: str | None
    short: list[Look] = field(default_factory=list)


def read_status(
    outputs: StackOutputs, pools: Sequence[str], now: datetime, no_prices: str | None = None
) -> FleetStatus:
    """Ask for everything; changes nothing. `no_prices`: why no prices are asked for, as of an emulator, which has
    none."""
    prices, dynamodb = ListPrices(no_prices), clients.dynamodb()
    chosen: dict[str, PoolOutputs] = {str(name): pool for name, pool in outputs.pools.items() if name in pools}
    groups = read_groups(clients.autoscaling(), [pool.auto_scaling_group for pool in chosen.values()])
    known = with_list_prices(list_instances(Table(dynamodb, outputs.instances_table), now), prices)
    sqs = clients.sqs()

    def status(name: str, pool: PoolOutputs) -> PoolStatus:
        group, own = groups[pool.auto_scaling_group], [one for one in known if one.pool == name]
        spot, spot_fault = list[SpotPrice](), no_prices
        if not no_prices:
            try:
                spot = read_spot_prices(clients.ec2(), pool.instance_types, group.zones, now)
            except (UserError, WorldError) as error:  # all else is worth showing without them
                spot_fault = str(error)
        return PoolStatus(
            pool=name,
            market=pool.market,
            group=group,
            backlog={str(priority): _backlog(sqs, url) for priority, url in pool.queue_urls.items()},
            num_dead_letters=_backlog(sqs, pool.dead_letter_queue_url).num_waiting,
            instances=join(group, own, now),
            spot=spot,
            spot_fault=spot_fault,
            on_demand={kind: prices.usd_per_h(kind, outputs.region) for kind in pool.instance_types},
            today=instance_spend(own, now),
        )

    found = [status(name, pool) for name, pool in chosen.items()]
    table = Table(dynamodb, outputs.jobs_table)
    jobs = [one for one in read_job_spend(table, now, prices.of_row) if one.pool in (*chosen, None)]
    queues = {f"{name}-{priority}" for name, pool in chosen.items() for priority in pool.queue_urls}
    short = [look for look in queue.read_short(table, now) if look.queue in queues]
    return FleetStatus(now, found, jobs, prices.fault, short)


def _backlog(client: SQSClient, url: str) -> Backlog:
    with queue_faults(f"read the queue {url.rpartition('/')[2]}", url):
        counts = waiting_calls.count(client, url)
    return Backlog(counts.num_visible, counts.num_hidden)


def join(group: Group, known: Sequence[Instance], now: datetime) -> list[FleetInstance]:
    """The group's instances with their workers, then workers outside of it that have not ended."""
    rows = {one.instance_id: one for one in known}
    found = []
    for member in group.members:
        row = rows.pop(member.instance_id, None)
        late = row is not None and row.is_late(now)
        kind = member.instance_type or (row.instance_type if row else None)
        place = member.zone, kind, member.is_protected, late
        found.append(FleetInstance(member.instance_id, member.state, *place, row))
    for row in rows.values():
        if not row.is_gone and not row.is_late(now):
            place_of_row = row.availability_zone, row.instance_type, False, False
            found.append(FleetInstance(row.instance_id, None, *place_of_row, row))
    return found
