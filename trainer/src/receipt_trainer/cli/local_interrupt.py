"""`receipt-trainer local interrupt`: what a spot instance hears, for a local worker."""

from __future__ import annotations

from typing import Any, Final

import click

KINDS: Final = ("spot", "rebalance", "lifecycle")
_WORDS: Final = {
    "spot": "a spot notice: the instance is taken in {warning_s:g} s",
    "rebalance": "a rebalance recommendation",
    "lifecycle": "that its Auto Scaling group ends the instance",
}


@click.command("interrupt")
@click.argument("instance", required=False)
@click.option("--kind", type=click.Choice(KINDS), default="spot", show_default=True, help="What is said.")
@click.option(
    "--warning",
    "warning_s",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    metavar="S",
    help="Of a spot notice: seconds until the instance is taken.",
)
def command(instance: str | None, kind: str, warning_s: float) -> None:
    """Interrupt a local worker as EC2 would: it saves its job, hands it back and goes.

    At a rebalance recommendation it saves its job and goes on; only without a job does it go.
    INSTANCE is one of `receipt-trainer local status`; needed only where several workers run. The notice is for that
    worker alone: the next one is another instance, and goes on with the job.
    """
    from receipt_trainer.local import control_api
    from receipt_trainer.local import session as sessions

    session = sessions.require()
    chosen = _choose(control_api.instances(session), instance)
    control_api.interrupt(session, chosen["instance_id"], kind, warning_s)
    said = _WORDS[kind].format(warning_s=warning_s)
    click.echo(f"{chosen['instance_id']} (process {chosen['pid']}) is told {said}")


def _choose(instances: list[dict[str, Any]], named: str | None) -> dict[str, Any]:
    """The named one, or the only one.

    Raises:
        UserError: no worker runs, none is called so, or several run and none is named.
    """
    from receipt_trainer.errors import UserError

    alive = {one["instance_id"]: one for one in instances if one["alive"]}
    if not alive:
        raise UserError("no local worker is running; start one with: receipt-trainer start-worker --stack local")
    if named is None and len(alive) == 1:
        return next(iter(alive.values()))
    if named not in alive:
        what = f"no local worker runs on '{named}'" if named else "several local workers run"
        raise UserError(f"{what}; name one of: {', '.join(alive)}")
    return alive[named]
