"""`fleet`, `instances` and `images`: the worker pools seen and steered, their workers, the images they boot."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from receipt_trainer.cli.render import tables
from receipt_trainer.cli.stack import given, local_session, outputs, stack_options
from receipt_trainer.contract.liveness import STATUS_LOST
from receipt_trainer.contract.outputs import POOL_NAMES
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rich.table import Table
    from rich.text import Text

    from receipt_trainer.contract.outputs import StackOutputs
    from receipt_trainer.fleet.groups import Group
    from receipt_trainer.jobs.instances import Instance

_UNTIL = "until a `pulumi up` that refreshes, or that edits them, sets them back to the configuration"


@click.command("fleet")
@click.option("--start", is_flag=True, help="Set the pools' bounds, so that they follow their queues.")
@click.option("--stop", is_flag=True, help="Set both bounds to 0: nothing is launched; workers leave after their jobs.")
@click.option("--status", is_flag=True, help="Show the fleet and change nothing; the default.")
@click.option(
    "--min-instances",
    type=click.IntRange(0, 100),
    metavar="N",
    help="With --start: instances kept without jobs too (as it is).",
)
@click.option(
    "--max-instances",
    type=click.IntRange(0, 100),
    metavar="N",
    help="With --start: instances at most (as it is; 1 if that is 0).",
)
@click.option(
    "--pool", "pools", multiple=True, type=click.Choice(POOL_NAMES), help="Only this pool; may be repeated (all)."
)
@click.option("--now", is_flag=True, help="With --stop: end the instances too; their jobs go back to the queue.")
@stack_options
@tables.json_option
def fleet_command(start: bool, stop: bool, status: bool, now: bool, pools: tuple[str, ...], **flags: Any) -> None:
    """Show the worker pools, or set how many instances they may have.

    The groups scale by themselves: nothing has to run on this machine. What is set holds until a `pulumi up` that
    refreshes, or that edits the bounds, sets it back to the stack's configuration.
    """
    if start + stop + status > 1:
        raise UserError("--start, --stop and --status are three things; give one of them")
    if now and not stop:
        raise UserError("--now goes with --stop")
    bounds = flags["min_instances"], flags["max_instances"]
    if bounds != (None, None) and not start:
        raise UserError("--min-instances and --max-instances go with --start")
    stack = outputs()
    if stack is None:
        raise UserError("--stack NAME is needed (or --outputs FILE)")
    chosen = _chosen(stack, pools)
    if start or stop:
        _set(stack, chosen, (0, 0) if stop else bounds, stop=stop, now=now, as_json=flags["as_json"])
    else:
        _show(stack, chosen, as_json=flags["as_json"])


def _chosen(stack: StackOutputs, pools: tuple[str, ...]) -> list[str]:
    there = [str(name) for name in stack.pools]
    for pool in pools:
        if pool not in there:
            raise UserError(f"--pool {pool}: the stack has no such pool; it has: {', '.join(there)}")
    return [name for name in there if not pools or name in pools]


def _show(stack: StackOutputs, pools: list[str], *, as_json: bool) -> None:
    from receipt_trainer.aws.server_time import utc_now
    from receipt_trainer.contract.tables import iso
    from receipt_trainer.fleet.status import read_status

    no_prices = "a local stack has no prices" if local_session() is not None else None
    found = read_status(stack, pools, utc_now(), no_prices)
    if as_json:
        short = [
            asdict(one) | {"at": iso(one.at), "short_since": iso(one.short_since or one.at)} for one in found.short
        ]
        tables.print_json(asdict(found) | {"at": iso(found.at), "short": short})
        return
    from receipt_trainer.cli.render import fleet

    fleet.print_status(tables.console(), found, given())


def _set(
    stack: StackOutputs,
    pools: list[str],
    bounds: tuple[int | None, int | None],
    *,
    stop: bool,
    now: bool,
    as_json: bool,
) -> None:
    from receipt_trainer.aws import clients
    from receipt_trainer.fleet import groups

    client = clients.autoscaling()
    names = {pool: group.auto_scaling_group for pool, group in stack.pools.items() if pool in pools}
    found = groups.read_groups(client, list(names.values()))
    # All of them are looked at before the first is changed.
    wanted = {
        str(pool): (0, 0) if stop else groups.bounds_for_start(found[name], str(pool), *bounds)
        for pool, name in names.items()
    }
    # What fails for one is said when all else is done.
    faults = groups.set_all_bounds(client, {found[name]: wanted[pool] for pool, name in names.items()})
    after, said = groups.read_groups(client, list(names.values())), []
    for pool, name in names.items():
        # In a group that keeps its bounds another one would come in the place of each that is ended.
        ended, left = groups.end_members(client, after[name]) if now and name not in faults else ([], {})
        faults |= left
        said.append({"pool": pool, "group": name, "minimum": after[name].minimum, "maximum": after[name].maximum})
        said[-1] |= {"desired": after[name].desired, "ended": ended, "not_ended": list(left)}
        said[-1] |= {"launches_suspended": after[name].is_suspended}
        if not as_json:
            _say(pool, found[name], after[name], ended, stop=stop, now=now)
    if as_json:
        tables.print_json({"pools": said, "holds": _UNTIL})
    else:
        click.echo(f"these bounds hold {_UNTIL}")
    if faults:
        raise WorldError(f"{'; '.join(faults.values())}; all else is done: give the command again for the rest")


def _say(pool: str, before: Group, after: Group, ended: list[str], *, stop: bool, now: bool) -> None:
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
        click.echo(
            f"{pool}: it launches nothing: launches are suspended, as after failed boots; when that is mended: "
            f"aws autoscaling resume-processes --scaling-processes Launch --auto-scaling-group-name {before.name}"
        )


_WIDE: Final = ("instance", "state", "heartbeat", "job", "pool", "type", "zone", "market", "$/h", "since", "reason")
_NARROW: Final = ("instance", "state", "heartbeat", "job", "type", "$/h")
_NARROW_BELOW: Final = 140


@click.command("instances")
@stack_options
@tables.instances_table_option
@click.option("--pool", metavar="POOL", help="Only instances of this pool, such as gpu.")
@click.option("--all", "every", is_flag=True, help="Also those whose worker has ended, as long as their rows are kept.")
@tables.json_option
def instances_command(table: str, pool: str | None, every: bool, as_json: bool) -> None:
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
        tables.print_json([asdict(one) | {"late": one.is_late(now)} for one in found])
    elif found:
        console = tables.console()
        console.print(_instances_table(found, now, narrow=console.width < _NARROW_BELOW))
    else:
        click.echo("no instance is registered", err=True)


def _instances_table(found: Sequence[Instance], now: datetime, narrow: bool) -> Table:
    names = _NARROW if narrow else _WIDE
    shown = tables.table(*names, right=("$/h",))
    for one in found:
        cells = _instance_cells(one, now)
        shown.add_row(*(cells[name] for name in names))
    return shown


def price_text(one: Instance) -> str:
    """Dollars of an hour; of an instance on demand, what AWS asks today."""
    shown = tables.price(one.price_usd_per_h)
    return f"{shown} (list)" if one.is_list_price and shown != tables.price(None) else shown


def _instance_cells(one: Instance, now: datetime) -> dict[str, Text]:
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
        "since": tables.when(one.started_at, now),
        "reason": one.reason or "",
    }
    bad = late or one.status in ("BOOT_FAILED", STATUS_LOST)
    return {name: Text(formatting.one_line(text, 60)) for name, text in texts.items()} | {
        "state": Text(formatting.one_line(one.status), style="red" if bad else "green"),
        "heartbeat": Text(tables.ago(one.seen_at, now) + (" (late)" if late else ""), style="red" if late else ""),
    }


@click.command("list")
@stack_options
@tables.json_option
def list_images_command(as_json: bool) -> None:
    """List the images that this stack has baked, the newest first, and which of them workers boot."""
    from receipt_trainer.fleet import images

    found = images.read(_stack())
    lines = found.lines()
    if as_json:
        tables.print_json([asdict(one) for one in lines])
        return
    if lines:
        shown = tables.table("image", "state", "AMI", "baked", "workers boot it")
        for one in lines:
            cells = one.name or "–", one.status.lower(), one.image_id or "–", one.created_at
            shown.add_row(*cells, "yes" if one.in_force else "")
        tables.console().print(shown)
    else:
        click.echo("no image has been baked", err=True)
    if not any(one.in_force for one in lines):
        click.echo(f"workers boot {found.in_force or 'nothing: there is no image parameter'}", err=True)


@click.command("delete")
@click.option("--yes", is_flag=True, help="Do not ask.")
@stack_options
def delete_images_command(yes: bool) -> None:
    """Delete ALL images that this stack has baked: AMIs, snapshots, image resources, and recipes that nothing uses.

    Workers boot the parent image afterwards, until the next bake. AWS refuses to delete what an image refers to, so
    this comes before `pulumi destroy` and before golden_ami.enabled false. What was stopped half way is given again.
    """
    from receipt_trainer.fleet import images

    stack = _stack()
    found = images.read(stack)
    lines = found.lines()
    if lines and not yes:
        _ask(f"delete {len(lines)} images of {stack.project}-{stack.environment}?")
    images.delete_all(stack, found, click.echo)
    click.echo("no image is left")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise UserError(f"{question} nobody is there to ask; give --yes")
    if not click.confirm(question):
        raise UserError("nothing was deleted")


def _stack() -> StackOutputs:
    found = outputs()
    if found is None:
        raise UserError("--stack NAME is needed (or --outputs FILE)")
    if local_session() is not None:
        raise UserError("a local stack bakes no images")
    return found
