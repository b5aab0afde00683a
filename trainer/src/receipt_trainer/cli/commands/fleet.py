"""`fleet`, `instances` and `images`: the worker pools seen and steered, their workers, the images they boot."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.prices import ListPrices
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli.options import instances_table_option, json_option
from receipt_trainer.cli.render import fleet, tables
from receipt_trainer.cli.stack import given, local_session, require_outputs, stack_options
from receipt_trainer.contract.outputs import POOL_NAMES, StackOutputs
from receipt_trainer.contract.tables import iso
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.fleet import groups, images
from receipt_trainer.fleet.status import read_status
from receipt_trainer.jobs.instances import list_instances, with_list_prices

_BOUND = click.IntRange(0, 100)
_LEAST = "With --start: instances kept without jobs too (as it is)."
_MOST = "With --start: instances at most (as it is; 1 if that is 0)."
_UNTIL = "until a `pulumi up` that refreshes, or that edits them, sets them back to the configuration"


@click.command("fleet")
@click.option("--start", is_flag=True, help="Set the pools' bounds, so that they follow their queues.")
@click.option("--stop", is_flag=True, help="Set both bounds to 0: nothing is launched; workers leave after their jobs.")
@click.option("--status", is_flag=True, help="Show the fleet and change nothing; the default.")
@click.option("--min-instances", type=_BOUND, metavar="N", help=_LEAST)
@click.option("--max-instances", type=_BOUND, metavar="N", help=_MOST)
@click.option(
    "--pool", "pools", multiple=True, type=click.Choice(POOL_NAMES), help="Only this pool; may be repeated (all)."
)
@click.option("--now", is_flag=True, help="With --stop: end the instances too; their jobs go back to the queue.")
@stack_options
@json_option
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
    stack = require_outputs()
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
    no_prices = "a local stack has no prices" if local_session() is not None else None
    found = read_status(stack, pools, utc_now(), no_prices)
    if as_json:
        short = [
            asdict(one) | {"at": iso(one.at), "short_since": iso(one.short_since or one.at)} for one in found.short
        ]
        tables.print_json(asdict(found) | {"at": iso(found.at), "short": short})
    else:
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
            fleet.print_bounds(pool, found[name], after[name], ended, stop=stop, now=now)
    if as_json:
        tables.print_json({"pools": said, "holds": _UNTIL})
    else:
        click.echo(f"these bounds hold {_UNTIL}")
    if faults:
        raise WorldError(f"{'; '.join(faults.values())}; all else is done: give the command again for the rest")


@click.command("instances")
@stack_options
@instances_table_option
@click.option("--pool", metavar="POOL", help="Only instances of this pool, such as gpu.")
@click.option("--all", "every", is_flag=True, help="Also those whose worker has ended, as long as their rows are kept.")
@json_option
def instances_command(table: str, pool: str | None, every: bool, as_json: bool) -> None:
    """List the registered instances, the last heard of first: state, heartbeat, job, price."""
    now = utc_now()
    found = with_list_prices(
        [
            one
            for one in list_instances(Table(clients.dynamodb(), table), now)
            if (pool is None or one.pool == pool) and (every or one.status != "ENDED")
        ],
        ListPrices(),
    )
    if as_json:
        tables.print_json([asdict(one) | {"late": one.is_late(now)} for one in found])
    elif found:
        fleet.print_instances(tables.console(), found, now)
    else:
        click.echo("no instance is registered", err=True)


@click.command("list")
@stack_options
@json_option
def list_images_command(as_json: bool) -> None:
    """List the images that this stack has baked, the newest first, and which of them workers boot."""
    found = images.read(_stack())
    lines = found.lines()
    if as_json:
        tables.print_json([asdict(one) for one in lines])
        return
    if lines:
        fleet.print_images(tables.console(), lines)
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
    this comes before `pulumi destroy` and before golden_ami.enabled false. After an interruption, run it again.
    """
    stack = _stack()
    found = images.read(stack)
    lines = found.lines()
    if lines and not yes:
        question = f"delete {len(lines)} images of {stack.project}-{stack.environment}?"
        if not sys.stdin.isatty():
            raise UserError(f"{question} there is no terminal to ask on; give --yes")
        if not click.confirm(question):
            raise UserError("nothing was deleted")
    images.delete_all(stack, found, click.echo)
    click.echo("no image is left")


def _stack() -> StackOutputs:
    if local_session() is not None:
        raise UserError("a local stack bakes no images")
    return require_outputs()
