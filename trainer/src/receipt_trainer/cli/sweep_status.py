"""`receipt-trainer sweep-status`: the trials of a sweep side by side, and what they say."""

from __future__ import annotations

import click

from receipt_trainer.cli.render import tables
from receipt_trainer.cli.stack import stack_options


@click.command("sweep-status")
@stack_options
@tables.jobs_table_option
@click.argument("name", required=False)
@tables.json_option
def command(table: str, name: str | None, as_json: bool) -> None:
    """Compare the trials of the sweep NAME, best first; without NAME, list the sweeps.

    It only reads: a search goes on by `receipt-trainer sweep --resume NAME --monitor`.
    """
    from functools import cache

    from receipt_trainer.aws import clients
    from receipt_trainer.cli import sweep_show
    from receipt_trainer.sweep.collect import Observer
    from receipt_trainer.sweep.store import SweepTable

    client = clients.dynamodb()
    sweeps = SweepTable(client, table)
    if name is None:
        sweep_show.print_names(sweeps.names(), as_json)
        return
    definition = sweeps.get(name)
    observer = Observer(client, table, cache(clients.s3), definition.goal)
    limits, stored = sweeps.read(name)
    trials = observer.look(stored)
    sweep_show.print_all(definition, trials, limits, as_json)
    sweep_show.complain(observer.complaint)
