"""`receipt-trainer local down`."""

from __future__ import annotations

from typing import Final

import click

TIMEOUT_S: Final = 90.0
"""The workers get a minute to save their jobs."""


@click.command("down")
def command() -> None:
    """End the local session: its workers save their jobs and go, and nothing of it is left, models included."""
    from receipt_trainer.cli.local_up import wait_for
    from receipt_trainer.errors import WorldError
    from receipt_trainer.local import control_api
    from receipt_trainer.local import session as sessions

    root = sessions.home()
    found = sessions.find(root)
    if found is None:
        if sessions.is_held(root):
            sessions.require(root)
        sessions.clear(root)
        click.echo("no local session is running", err=True)
        return
    control_api.end(found)
    if not wait_for(lambda: not found.is_live(root), TIMEOUT_S):
        raise WorldError(f"the local session does not end; its process is {found.pid}")
    click.echo("the local session has ended; nothing of it is left")
