"""Pools, instances and images as tables and lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import click
from rich.console import Console
from rich.text import Text

from receipt_trainer.cli import queueing
from receipt_trainer.cli.render import jobs, tables
from receipt_trainer.contract.liveness import STATUS_LOST
from receipt_trainer.fleet.groups import Group
from receipt_trainer.fleet.images import Image
from receipt_trainer.fleet.spend import InstanceSpend
from receipt_trainer.fleet.status import FleetInstance, FleetStatus, PoolStatus
from receipt_trainer.jobs import queue
from receipt_trainer.jobs.instances import Instance
from receipt_trainer.reports import formatting

MAX_JOBS: Final = 20
"""Jobs of today that are listed; --json has all."""
NOT_IN_IT: Final = (
    "from the start of each worker to its end, at the price that it found then; not in it: boots, volumes, files, "
    "network, and instances whose worker never registered"
)
_BY_IMPORTANCE: Final = (
    *("instance", "state", "heartbeat", "job", "type", "$/h", "pool"),
    *("market", "zone", "since", "reason"),
)


def print_status(console: Console, found: FleetStatus, given: str = "") -> None:
    """All pools, jobs without a message, then what today cost; `given` names the stack in commands."""
    for pool in found.pools:
        _print_pool(console, pool, found.at)
    for look in found.short:
        _line(console, queue.promise(look, given), style="yellow")
    _print_spend(console, found)
    if found.list_price_fault is not None:
        _line(console, f"on-demand prices are not available: {found.list_price_fault}", style="dim")


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(formatting.one_line(text, 300), style=style))


def _print_pool(console: Console, pool: PoolStatus, now: datetime) -> None:
    group = pool.group
    _line(console, f"Pool {pool.pool}", style="bold")
    _line(console, f"instances: {group.desired} asked for, {group.minimum} at least, {group.maximum} at most")
    if group.is_suspended:
        _line(console, "launches are suspended: nothing is launched, however many jobs wait", style="red")
    queues = [f"{name}: {one.num_waiting} waiting, {one.num_taken} taken" for name, one in pool.backlog.items()]
    _line(console, f"jobs: {'; '.join(queues)}; dead letters: {pool.num_dead_letters}")
    if pool.instances:
        _print_instances(console, pool.instances, now)
    _print_prices(console, pool)
    if pool.spot_fault is not None:
        _line(console, f"spot prices are not available: {pool.spot_fault}", style="dim")
    console.print()


def _print_instances(console: Console, instances: Sequence[FleetInstance], now: datetime) -> None:
    rows = []
    for one in instances:
        row = one.worker
        texts = [one.instance_id, one.state or "–", row.status if row else "not registered"]
        texts.append(f"{tables.ago(row.seen_at, now)}{' (late)' if one.is_late else ''}" if row else "–")
        texts += [(row.job_id or "–")[:8] if row else "–", one.instance_type or "–", one.zone or "–"]
        texts += [(row.market or "–") if row else "–", price_text(row) if row else "–"]
        style = "red" if one.is_late else ""
        rows.append([Text(formatting.one_line(text, 40), style=style) for text in texts])
    heads = ("instance", "in group", "worker", "heartbeat", "job", "type", "zone", "market", "$/h")
    tables.print_rows(console, heads, rows, right=("$/h",))


def _print_prices(console: Console, pool: PoolStatus) -> None:
    """A row a type, a column a zone; * is the cheapest that can be launched now."""
    zones = sorted({one.zone for one in pool.spot})
    known = [one for one in pool.spot if tables.price(one.usd_per_h) != tables.price(None)]
    by_place = {(one.instance_type, one.zone): one.usd_per_h for one in known}
    cheapest = min(by_place, key=lambda place: (by_place[place], place), default=None)
    if not known and not any(tables.price(one) != tables.price(None) for one in pool.on_demand.values()):
        return  # a local stack has no prices
    rows = []
    for kind, listed in pool.on_demand.items():
        prices = [(by_place.get((kind, zone)), "*" if (kind, zone) == cheapest else "") for zone in zones]
        cells = ["–" if price is None else f"{tables.price(price)}{star}" for price, star in prices]
        rows.append([kind, *cells, tables.price(listed)])
    heads = ("$/h, spot (* cheapest)", *zones, "on demand")
    tables.print_rows(console, heads, rows, right=heads[1:])


def _print_spend(console: Console, found: FleetStatus) -> None:
    _line(console, f"Today, since 00:00 UTC ({found.at.astimezone(UTC):%Y-%m-%d})", style="bold")
    for pool in found.pools:
        _line(console, f"{pool.pool}: {_spent(pool.today)}")
    _line(console, f"({NOT_IN_IT})", style="dim")
    if found.jobs_today:
        shown = tables.table("job", "name", "state", "cost today")
        shown.columns[-1].no_wrap = False  # else a narrow terminal cuts the ids
        for job in found.jobs_today[:MAX_JOBS]:
            names = [Text(formatting.one_line(job.job_id[:8])), Text(formatting.one_line(job.name, 40))]
            shown.add_row(*names, jobs.status_text(job.status), Text(jobs.cost_text(job.cost)))
        console.print(shown)
    if (num_more := len(found.jobs_today) - MAX_JOBS) > 0:
        _line(console, f"and {num_more} more jobs; --json has them all", style="dim")


def _spent(spend: InstanceSpend) -> str:
    if not spend.num_instances:
        return "no instance"
    said = [f"{tables.counted(spend.num_instances, 'instance')}, {formatting.duration(spend.seconds)}"]
    if spend.num_at_list_price:
        said.append(f"{spend.num_at_list_price} at today's on-demand list price")
    if spend.num_unknown:
        said.append(f"{spend.num_unknown} without a price")
    if spend.usd is None:
        return f"unknown ({'; '.join(said)})"
    least = tables.least(spend.usd, spend.num_unknown)
    return f"{least}{tables.dollars(spend.usd)} ({'; '.join(said)})"


def print_bounds(pool: str, before: Group, after: Group, ended: list[str], *, stop: bool, now: bool) -> None:
    """Print the changes of a pool's bounds and of its instances."""
    click.echo(
        f"{pool}: minimum {before.minimum} -> {after.minimum}, maximum {before.maximum} -> {after.maximum}, "
        f"desired {before.desired} -> {after.desired}"
    )
    if ended:
        click.echo(f"{pool}: ending {', '.join(ended)}; each saves its job and gives it back within minutes")
    elif stop and not now and before.members:
        click.echo(
            f"{pool}: {len(before.members)} there now: one with a job finishes it and leaves; no other job is begun"
        )
    if not stop and before.is_suspended:
        click.echo(f"{pool}: it launches nothing: {queueing.suspended_text(before.name)}")


def print_instances(console: Console, found: Sequence[Instance], now: datetime) -> None:
    """A row a registered worker; a narrow terminal gets fewer columns."""
    tables.print_cells(
        console, [_instance_cells(one, now) for one in found], _BY_IMPORTANCE, ("$/h",), flexible="reason"
    )


def print_images(console: Console, lines: Sequence[Image]) -> None:
    """A row an image that the stack has baked."""
    rows = [
        (one.name or "–", one.status.lower(), one.image_id or "–", one.created_at, "yes" if one.in_force else "")
        for one in lines
    ]
    tables.print_rows(console, ("image", "state", "AMI", "baked", "workers boot it"), rows, limit=80)


def price_text(one: Instance) -> str:
    """Dollars of an hour; of an instance on demand, what AWS asks today."""
    shown = tables.price(one.price_usd_per_h)
    return f"{shown} (list)" if one.is_list_price and shown != tables.price(None) else shown


def _instance_cells(one: Instance, now: datetime) -> dict[str, str | Text]:
    late = one.is_late(now)
    bad = late or one.status in ("BOOT_FAILED", STATUS_LOST)
    return {
        "instance": formatting.one_line(one.instance_id, 40),
        "state": Text(formatting.one_line(one.status), style="red" if bad else "green"),
        "heartbeat": Text(tables.ago(one.seen_at, now) + (" (late)" if late else ""), style="red" if late else ""),
        "job": formatting.one_line((one.job_id or "–")[:8]),
        "pool": formatting.one_line(one.pool or "–", 40),
        "type": formatting.one_line(one.instance_type or "–", 40),
        "zone": formatting.one_line(one.availability_zone or "–", 40),
        "market": formatting.one_line(one.market or "–", 40),
        "$/h": price_text(one),
        "since": tables.when(one.started_at, now),
        "reason": formatting.one_line(one.reason or "", 60),
    }
