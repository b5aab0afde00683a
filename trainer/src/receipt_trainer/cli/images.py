"""`receipt-trainer images`: the images that the stack has baked, listed and deleted."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from receipt_trainer.cli import job_show
from receipt_trainer.cli.stack import local_session, outputs, stack_options
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from receipt_trainer.contract.outputs import StackOutputs


@click.command("list")
@stack_options
@job_show.json_option
def list_command(as_json: bool) -> None:
    """List the images that this stack has baked, the newest first, and which of them workers boot."""
    from receipt_trainer.fleet import images

    found = images.read(_stack())
    lines = found.lines()
    if as_json:
        job_show.print_json([asdict(one) for one in lines])
        return
    if lines:
        shown = job_show.table("image", "state", "AMI", "baked", "workers boot it")
        for one in lines:
            cells = one.name or "–", one.status.lower(), one.image_id or "–", one.created_at
            shown.add_row(*cells, "yes" if one.in_force else "")
        job_show.console().print(shown)
    else:
        click.echo("no image has been baked", err=True)
    if not any(one.in_force for one in lines):
        click.echo(f"workers boot {found.in_force or 'nothing: there is no image parameter'}", err=True)


@click.command("delete")
@click.option("--yes", is_flag=True, help="Do not ask.")
@stack_options
def delete_command(yes: bool) -> None:
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
