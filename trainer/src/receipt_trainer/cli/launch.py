"""Instances for jobs that were just queued, and the line that says so; a fault here is no fault of the queueing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Final

import click

from receipt_trainer.aws import clients
from receipt_trainer.cli import stack
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.fleet.groups import Launch, launch_for_jobs

LATER: Final = "the pool's alarm launches one by itself, up to 15 minutes later if no job came for hours"


@dataclass(frozen=True, slots=True)
class Launched:
    """The request for an instance of a pool, or the reason why it failed."""

    pool: str
    launch: Launch | None
    fault: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"pool": self.pool, "fault": self.fault, **(asdict(self.launch) if self.launch is not None else {})}


def launch(pool: str | None, table: str, job_ids: Collection[str]) -> Launched | None:
    """Ask the pool's group for an instance a job; None where no group is known, as in the local session."""
    outputs = stack.outputs()
    if outputs is None or stack.local_session() is not None:
        return None
    pools = {str(name): of for name, of in outputs.pools.items()}
    if pool not in pools:
        return None

    group = pools[pool].auto_scaling_group
    try:
        client = clients.autoscaling(max_attempts=2)
        return Launched(pool, launch_for_jobs(client, clients.dynamodb(), table, pool, group, job_ids))
    except (UserError, WorldError) as error:
        return Launched(pool, None, str(error))


def say(launched: Launched | None) -> None:
    """Print it to standard error."""
    if launched is not None:
        click.echo(text(launched), err=True)


def text(launched: Launched) -> str:
    """One line for people."""
    pool, found = launched.pool, launched.launch
    if found is None:
        return f"pool {pool} was not asked for an instance ({launched.fault}); {LATER}"
    if found.kind == "raised":
        return f"pool {pool}: {_instances(found.after)} asked for, {found.before} before"
    if found.kind == "full":
        return f"pool {pool}: {_instances(found.after)} asked for, its maximum: the job may have to wait for one"
    if found.kind == "stopped":
        command = f"receipt-trainer fleet{stack.given()} --start --pool {pool}"
        return f"pool {pool} is stopped, its maximum is 0: jobs wait until: {command}"
    if found.kind == "suspended":
        return (
            f"pool {pool} launches nothing: launches are suspended, as after failed boots; once that is fixed: "
            f"aws autoscaling resume-processes --scaling-processes Launch --auto-scaling-group-name {found.group}"
        )
    return f"pool {pool}: {_instances(found.after)} asked for already"


def _instances(number: int) -> str:
    return f"{number} instance{'' if number == 1 else 's'}"
