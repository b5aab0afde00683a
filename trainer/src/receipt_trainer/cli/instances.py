"""`receipt-trainer instances`: which workers there are and what each does."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from receipt_trainer.cli import job_show
from receipt_trainer.cli.stack import stack_options
from receipt_trainer.contract.liveness import STATUS_LOST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rich.table import Table
    from rich.text import Text

    from receipt_trainer.jobs.instances import Instance

_WIDE: Final = ("instance", "state", "heartbeat", "job", "pool", "type", "zone", "market", "$/h", "since", "reason")
_NARROW: Final = ("instance", "state", "heartbeat", "job", "type", "$/h")
_NARROW_BELOW: Final = 140


@click.command("instances")
@stack_options
@job_show.instances_table_option
@click.option("--pool", metavar="POOL", help="Only instances of this pool, such as gpu.")
@click.option("--all", "every", is_flag=True, help="Also those whose worker has ended, as long as their rows are kept.")
@job_show.json_option
def command(table: str, pool: str | None, every: bool, as_json: bool) -> None:
    """List the registered instances, the last heard of first: state, heartbeat, job, price."""
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.prices import ListPrices
    from receipt_trainer.aws.server_time import utc_now
    from receipt_trainer.jobs.instances import list_instances, with_list_prices

    now = utc_now()
    found = with_list_prices(
        [
            one
            for one in list_instances(clients.dynamodb(), table, now)
            if (pool is None or one.pool == pool) and (every or one.status != "ENDED")
        ],
        ListPrices(),
    )
    if as_json:
        job_show.print_json([asdict(one) | {"late": one.is_late(now)} for one in found])
    elif found:
        console = job_show.console()
        console.print(_table(found, now, narrow=console.width < _NARROW_BELOW))
    else:
        click.echo("no instance is registered", err=True)


def _table(found: Sequence[Instance], now: datetime, narrow: bool) -> Table:
    names = _NARROW if narrow else _WIDE
    shown = job_show.table(*names, right=("$/h",))
    for one in found:
        cells = _cells(one, now)
        shown.add_row(*(cells[name] for name in names))
    return shown


def price_text(one: Instance) -> str:
    """Dollars of an hour; of an instance on demand, what AWS asks today."""
    shown = job_show.price(one.price_usd_per_h)
    return f"{shown} (list)" if one.is_list_price and shown != job_show.price(None) else shown


def _cells(one: Instance, now: datetime) -> dict[str, Text]:
    from rich.text import Text

    from receipt_trainer.reports import formatting

    late = one.is_late(now)
    texts = {
        "instance": one.instance_id,
        "job": (one.job_id or "–")[:8],
        "pool": one.pool or "–",
        "type": one.instance_type or "–",
        "zone": one.availability_zone or "–",
        "market": one.market or "–",
        "$/h": price_text(one),
        "since": job_show.when(one.started_at, now),
        "reason": one.reason or "",
    }
    bad = late or one.status in ("BOOT_FAILED", STATUS_LOST)
    return {name: Text(formatting.one_line(text, 60)) for name, text in texts.items()} | {
        "state": Text(formatting.one_line(one.status), style="red" if bad else "green"),
        "heartbeat": Text(job_show.ago(one.seen_at, now) + (" (late)" if late else ""), style="red" if late else ""),
    }
