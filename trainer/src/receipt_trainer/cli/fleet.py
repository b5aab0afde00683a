"""`receipt-trainer fleet`: the worker pools, seen and steered."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from receipt_trainer.cli import job_show
from receipt_trainer.cli.stack import given, local_session, outputs, stack_options
from receipt_trainer.contract.outputs import POOL_NAMES
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from receipt_trainer.contract.outputs import StackOutputs
    from receipt_trainer.fleet.groups import Group

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
@job_show.json_option
def command(start: bool, stop: bool, status: bool, now: bool, pools: tuple[str, ...], **flags: Any) -> None:
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
    from receipt_trainer.aws.server_time import iso, utc_now
    from receipt_trainer.fleet.status import read_status

    no_prices = "nobody sells the machines of a local stack" if local_session() is not None else None
    found = read_status(stack, pools, utc_now(), no_prices)
    if as_json:
        short = [
            asdict(one) | {"at": iso(one.at), "short_since": iso(one.short_since or one.at)} for one in found.short
        ]
        job_show.print_json(asdict(found) | {"at": iso(found.at), "short": short})
        return
    from receipt_trainer.cli import fleet_show

    fleet_show.print_status(job_show.console(), found, given())


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
        job_show.print_json({"pools": said, "holds": _UNTIL})
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
