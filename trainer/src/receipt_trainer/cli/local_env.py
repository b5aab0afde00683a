"""`receipt-trainer local env`."""

from __future__ import annotations

import click


@click.command("env")
def command() -> None:
    """Print the session's variables for a shell: eval "$(receipt-trainer local env)", and the AWS CLI works in it."""
    from receipt_trainer.local import session as sessions

    click.echo(sessions.require().shell())
