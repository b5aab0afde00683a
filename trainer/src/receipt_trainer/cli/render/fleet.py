"""The fleet's status as tables."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final

from receipt_trainer.cli.commands import jobs as job_details
from receipt_trainer.cli.commands.fleet import price_text
from receipt_trainer.cli.render import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from rich.console import Console

    from receipt_trainer.fleet.spend import InstanceSpend, JobSpend
    from receipt_trainer.fleet.status import FleetInstance, FleetStatus, PoolStatus

MAX_JOBS: Final = 20
"""Jobs of today that are listed; --json has all."""
NOT_IN_IT: Final = (
    "from the start of each worker to its end, at the price that it found then; not in it: boots, volumes, files, "
    "network, and instances whose worker never registered"
)


def print_status(console: Console, found: FleetStatus, given: str = "") -> None:
    """All pools, jobs without a message, then what today cost; `given` names the stack in commands."""
    from receipt_trainer.jobs import queue

    for pool in found.pools:
        _print_pool(console, pool, found.at)
    for look in found.short:
        _line(console, queue.promise(look, given), style="yellow")
    _print_spend(console, found)
    if found.list_price_fault is not None:
        _line(console, f"on-demand prices cannot be had: {found.list_price_fault}", style="dim")


def _line(console: Console, text: str, style: str = "") -> None:
    from rich.text import Text

    from receipt_trainer.reports import formatting

    console.print(Text(formatting.one_line(text, 300), style=style))


def _print_pool(console: Console, pool: PoolStatus, now: datetime) -> None:
    group = pool.group
    _line(console, f"Pool {pool.pool}", style="bold")
    _line(console, f"instances: {group.desired} asked for, {group.minimum} at least, {group.maximum} at most")
    if group.is_suspended:
        _line(console, "launches are suspended: nothing is launched whatever waits", style="red")
    queues = [f"{name}: {one.num_waiting} waiting, {one.num_taken} taken" for name, one in pool.backlog.items()]
    _line(console, f"jobs: {'; '.join(queues)}; dead letters: {pool.num_dead_letters}")
    if pool.instances:
        _print_instances(console, pool.instances, now)
    _print_prices(console, pool)
    if pool.spot_fault is not None:
        _line(console, f"spot prices cannot be had: {pool.spot_fault}", style="dim")
    console.print()


def _print_instances(console: Console, instances: Sequence[FleetInstance], now: datetime) -> None:
    from rich.text import Text

    from receipt_trainer.reports import formatting

    shown = tables.table(
        "instance", "in group", "worker", "heartbeat", "job", "type", "zone", "market", "$/h", right=("$/h",)
    )
    for one in instances:
        row = one.worker
        texts = [one.instance_id, one.state or "–", row.status if row else "not registered"]
        texts.append(f"{tables.ago(row.seen_at, now)}{' (late)' if one.is_late else ''}" if row else "–")
        texts += [(row.job_id or "–")[:8] if row else "–", one.instance_type or "–", one.zone or "–"]
        texts += [(row.market or "–") if row else "–", price_text(row) if row else "–"]
        style = "red" if one.is_late else ""
        shown.add_row(*(Text(formatting.one_line(text, 40), style=style) for text in texts))
    console.print(shown)


def _print_prices(console: Console, pool: PoolStatus) -> None:
    """A row a type, a column a zone; * is the cheapest that can be launched now."""
    from rich.text import Text

    from receipt_trainer.reports import formatting

    zones = sorted({one.zone for one in pool.spot})
    known = [one for one in pool.spot if tables.price(one.usd_per_h) != tables.price(None)]
    by_place = {(one.instance_type, one.zone): one.usd_per_h for one in known}
    cheapest = min(by_place, key=lambda place: (by_place[place], place), default=None)
    shown = tables.table("$/h, spot (* cheapest)", *zones, "on demand", right=(*zones, "on demand"))
    for kind, listed in pool.on_demand.items():
        cells = [kind]
        for zone in zones:
            price = by_place.get((kind, zone))
            star = "*" if (kind, zone) == cheapest else ""
            cells.append("–" if price is None else f"{tables.price(price)}{star}")
        cells.append(tables.price(listed))
        shown.add_row(*(Text(formatting.one_line(cell, 40)) for cell in cells))
    console.print(shown)


def _print_spend(console: Console, found: FleetStatus) -> None:
    _line(console, f"Today, since 00:00 UTC ({found.at.astimezone(UTC):%Y-%m-%d})", style="bold")
    for pool in found.pools:
        _line(console, f"{pool.pool}: {_spent(pool.today)}")
    _line(console, f"({NOT_IN_IT})", style="dim")
    if found.jobs_today:
        _print_jobs(console, found.jobs_today[:MAX_JOBS])
    if (num_more := len(found.jobs_today) - MAX_JOBS) > 0:
        _line(console, f"and {num_more} more jobs; --json has them all", style="dim")


def _spent(spend: InstanceSpend) -> str:
    from receipt_trainer.reports import formatting

    if not spend.num_instances:
        return "no instance"
    count = f"{spend.num_instances} instance{'s' if spend.num_instances > 1 else ''}"
    said = [f"{count}, {formatting.duration(spend.seconds)}"]
    if spend.num_at_list_price:
        said.append(f"{spend.num_at_list_price} at today's on-demand list price")
    if spend.num_unknown:
        said.append(f"{spend.num_unknown} without a price")
    if spend.usd is None:
        return f"unknown ({'; '.join(said)})"
    least = job_details.least(spend.usd, spend.num_unknown)
    return f"{least}{job_details.dollars(spend.usd)} ({'; '.join(said)})"


def _print_jobs(console: Console, jobs: Iterable[JobSpend]) -> None:
    from rich.text import Text

    from receipt_trainer.reports import formatting

    shown = tables.table("job", "name", "state", "cost today")
    shown.columns[-1].no_wrap = False  # else a narrow terminal cuts the ids
    for job in jobs:
        names = [Text(formatting.one_line(job.job_id[:8])), Text(formatting.one_line(job.name, 40))]
        shown.add_row(*names, tables.status_text(job.status), Text(job_details.cost_text(job.cost)))
    console.print(shown)
