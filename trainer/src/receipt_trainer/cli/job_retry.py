"""`receipt-trainer retry`: queue a job again."""

from __future__ import annotations

import click

from receipt_trainer.cli import job_show
from receipt_trainer.cli.stack import stack_options


@click.command("retry")
@stack_options
@job_show.jobs_table_option
@job_show.job_argument
@job_show.limit_options
@job_show.json_option
def command(table: str, job: str, max_hours: float | None, max_usd: float | None, as_json: bool) -> None:
    """Queue JOB, which is FAILED or CANCELLED, again: its id, at least 6 characters of it, or its name.

    It goes on from its last checkpoint. A complete run that is not delivered, or is held, is delivered at once, and not
    trained again. Of another job that waits only the message is sent again. The pool is asked for an instance, unless
    it has one for each job. A job that was stopped at a limit needs a higher one.
    """
    from receipt_trainer.aws import clients
    from receipt_trainer.cli import launch
    from receipt_trainer.jobs.find import job_id_of
    from receipt_trainer.jobs.limits import Limits
    from receipt_trainer.jobs.submit import retry_job

    client = clients.dynamodb()
    limits = Limits(max_hours, max_usd)
    queued = retry_job(job_id_of(client, table, job), limits=limits, jobs_table=table, dynamodb=client)
    launched = launch.launch(queued.pool, table, [queued.job_id])
    if as_json:
        said = job_show.steered(queued) | {"checkpoints_gone_at": queued.checkpoints_gone_at}
        job_show.print_json(said | {"launch": launched.as_json() if launched else None})
    else:
        click.echo(f"job {queued.job_id} is {queued.status}, and in the queue")
        if queued.checkpoints_gone_at is not None:
            click.echo(f"its checkpoints are gone since {queued.checkpoints_gone_at[:10]}: it starts at step 0")
        launch.say(launched)
