"""`receipt-trainer local status`."""

from __future__ import annotations

from typing import Any

import click

from receipt_trainer.cli import job_show


@click.command("status")
@job_show.json_option
def command(as_json: bool) -> None:
    """Say what runs: the local session and its workers. Exit code 2 where there is none."""
    from receipt_trainer.aws.server_time import utc_now
    from receipt_trainer.cli import job_status
    from receipt_trainer.local import control_api
    from receipt_trainer.local import session as sessions

    session = sessions.require()
    instances = control_api.instances(session)
    if as_json:
        said: dict[str, Any] = session.model_dump(mode="json", exclude={"outputs", "environment"})
        job_show.print_json(said | {"instances": instances})
        return
    console = job_show.console()
    outputs = session.outputs
    facts = [
        ("process", str(session.pid)),
        ("since", job_show.when(session.started_at, utc_now())),
        ("program", session.program),
        ("embedded AWS", session.endpoint),
        (
            "tables",
            f"{outputs.receipts_table}, {outputs.jobs_table}, {outputs.instances_table}",
        ),
        ("artifacts", f"s3://{outputs.artifacts_bucket}"),
        ("files", str(sessions.folder())),
    ]
    job_status.print_lines(console, facts)
    alive = [one for one in instances if one["alive"]]
    job_status.print_lines(console, [("workers", str(len(alive)))])
    for one in alive:
        notices = f", notices: {', '.join(one['notices'])}" if one["notices"] else ""
        console.print(f"    {one['instance_id']}  process {one['pid']}{notices}", soft_wrap=True)
