"""`receipt-trainer submit-job`: a job file becomes a queued job."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import yaml

from receipt_trainer.aws import clients
from receipt_trainer.cli import options, queueing, stack
from receipt_trainer.cli.training import checked_job_name, read_job_file
from receipt_trainer.config.job_file import AnyJob, LayoutLMJob
from receipt_trainer.contract import names
from receipt_trainer.contract.job import Resources
from receipt_trainer.contract.outputs import PoolName, Priority
from receipt_trainer.doctor.findings import Finding
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.fleet.forecast import Forecast
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.routing import choose_pool, read_training_defaults, resolve
from receipt_trainer.jobs.submit import jobs_table_of_environment, new_job, queue_job


@click.command("submit-job")
@stack.stack_options
@options.job_file_option
@options.queue_options
@click.option("--job-name", metavar="NAME", help="Instead of the job file's.")
@click.option(
    "--notify/--no-notify",
    default=None,
    help="Send a notice when it has ended; by default as the job file says, or else the stack.",
)
@options.limit_options
@click.option("--client-token", metavar="TEXT", help="Submit once for this text, however often the command is run.")
@click.option("--dry-run", is_flag=True, help="Print the job as it would be stored; store and queue nothing.")
@options.json_option
def command(
    job_file: Path,
    queue_url: str | None,
    priority: Priority | None,
    pool: PoolName | None,
    jobs_table: str | None,
    client_token: str | None,
    dry_run: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Queue the job of a job file for the workers and print its id.

    With --stack or --outputs the queue, the jobs table and the stack's default hyperparameters are known. Without them,
    the queue is that of JOB_QUEUE_URL_HIGH or _NORMAL. The job is stored with every hyperparameter in it. A wrong file
    is refused with line and key, and nothing is queued.
    """
    spec = with_limits(asked_spec(job_file, priority, pool, flags["job_name"]), flags["max_hours"], flags["max_usd"])
    if flags["notify"] is not None:
        spec = spec.model_copy(update={"notify": flags["notify"]})
    spec, url = place(spec, queue_url, pool)

    outputs = stack.outputs()
    default = outputs is not None and outputs.job_defaults.notify
    job = new_job(spec, url, defaults=training_defaults(), client_token=client_token, notify=default)
    table = jobs_table or (os.environ.get(names.ENV_JOBS_TABLE) if dry_run else jobs_table_of_environment())
    found = queueing.forecasts([job.spec], job.pool, table)
    expected = found[0] if found else None
    if expected is not None:
        job = expected.put_into(job)
    if spec.max_usd is not None or job.spec.get("notify"):
        job = replace(job, list_prices=queueing.list_prices(job.pool))
    if not as_json:
        queueing.say_expected(expected, spec.max_hours, spec.max_usd)
    doubts = queueing.warnings(spec, dry_run=dry_run)
    queueing.say_warnings(doubts)
    if job.spec.get("notify") and (problem := _notice_problem()) is not None:
        click.echo(f"no notice will arrive: {problem}", err=True)
    launched = None
    if not dry_run and table:
        job = queue_job(job, table, client_token=client_token)
        launched = queueing.launch(job.pool, table, [job.job_id]) if job.is_waiting else None
    _print(job, expected, doubts, launched, dry_run, as_json)


@click.command("training-defaults")
@stack.stack_options
@options.json_option
def defaults_command(as_json: bool) -> None:
    """Print the hyperparameters of a LayoutLM job that gives none of its own: the stack's, else the trainer's.

    What is printed can stand in a job file; lines that end in `# stack` are set by the stack.
    """
    stack.require_outputs()
    own = training_defaults() or {}
    values = resolve(LayoutLMJob(job_name="defaults"), own).training_config.model_dump(mode="json")
    if as_json:
        click.echo(json.dumps({"training_config": values, "of_the_stack": sorted(own)}, indent=1))
        return
    click.echo("training_config:")
    for name, value in values.items():
        line = yaml.safe_dump({name: value}, sort_keys=False).rstrip()
        click.echo(f"  {line}{'  # stack' if name in own else ''}")


def asked_spec(job_file: Path, priority: Priority | None, pool: PoolName | None, job_name: str | None) -> AnyJob:
    """The job file's job, with the command line's wishes in their places; UserError: a wrong file or flag."""
    name = None if job_name is None else checked_job_name(job_name)
    given = {"priority": priority, "job_name": name, "resources": {"pool": pool} if pool else None}
    return read_job_file(job_file, changes={key: value for key, value in given.items() if value is not None})[0]


def with_limits(spec: AnyJob, max_hours: float | None, max_usd: float | None) -> AnyJob:
    """The job with the limits of the command line, else its own, `null` included, else those of the stack."""
    outputs = stack.outputs()
    below = outputs.job_defaults.model_dump() if outputs is not None else {}
    wanted = {"max_hours": max_hours, "max_usd": max_usd}
    for name, value in wanted.items():
        if value is None and name not in spec.model_fields_set:
            wanted[name] = below.get(name)
    return spec.model_copy(update={name: value for name, value in wanted.items() if value is not None})


def place(spec: AnyJob, queue_url: str | None, pool: PoolName | None) -> tuple[AnyJob, str]:
    """The job with its pool, and the URL of its queue; UserError: no such pool, or no queue is known."""
    outputs = stack.outputs()
    if outputs is not None and queue_url is None:
        chosen = choose_pool(spec.resources, list(outputs.pools), pool)
        placed = spec.model_copy(update={"resources": Resources(pool=chosen)})
        return placed, outputs.pools[chosen].queue_urls[spec.priority]
    variables = {"high": names.ENV_QUEUE_URL_HIGH, "normal": names.ENV_QUEUE_URL_NORMAL}
    url = queue_url or os.environ.get(variables[spec.priority])
    if not url:
        raise UserError("no queue is known: give --queue-url URL, or --stack NAME, or --outputs FILE")
    return spec, url


def training_defaults() -> dict[str, Any] | None:
    """The stack's hyperparameters; None where no stack is named."""
    outputs = stack.outputs()
    parameter = outputs.training_parameter if outputs else os.environ.get(names.ENV_TRAINING_PARAMETER)
    return read_training_defaults(clients.ssm(), parameter) if parameter else None


def _print(
    job: Job,
    expected: Forecast | None,
    doubts: Sequence[Finding],
    launched: queueing.Launched | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    if as_json:
        said: dict[str, Any] = {"job_id": job.job_id, "name": job.name, "status": job.status, "pool": job.pool}
        said |= {"priority": job.priority, "queue_url": job.queue_url}
        said |= {"expected": expected.as_json() if expected is not None else None}
        said |= {"warnings": [asdict(one) for one in doubts]}
        said |= {"launch": launched.as_json() if launched is not None else None}
        click.echo(json.dumps(said | {"dry_run": dry_run, "spec": dict(job.spec)}, indent=1))
    elif dry_run:
        click.echo(yaml.safe_dump(dict(job.spec), sort_keys=False, allow_unicode=True), nl=False)
        click.echo(f"dry run: would go to {job.queue_url}; nothing is stored or queued", err=True)
    else:
        click.echo(job.job_id)
        click.echo(f"'{job.name}' is {job.status} in {job.queue_url}", err=True)
        queueing.say_launched(launched)
        click.echo(f"follow it with: receipt-trainer logs{stack.given()} {job.job_id} --follow", err=True)


def _notice_problem() -> str | None:
    """Why no notice of the running command's stack would arrive; None if it would, or if no stack is named.

    Source: SNS API Reference, ListSubscriptionsByTopic: `PendingConfirmation` is the ARN of who has not confirmed.
    """
    outputs = stack.outputs()
    if outputs is None:
        return None
    if stack.local_session() is not None:
        return "on this machine nothing sends it; ask `receipt-trainer logs --follow` for the job's end"
    topic = outputs.notices_topic_arn
    if topic is None:
        return "the stack has no topic for notices yet; `pulumi up` makes it"
    try:
        with clients.aws_faults("see who gets the notice"):
            pages = clients.brief("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
            found = [one for page in pages for one in page["Subscriptions"]]
    except (UserError, WorldError) as error:
        click.echo(f"{error}; the job sends it in any case", err=True)
        return None
    if any(one["SubscriptionArn"].startswith("arn:") for one in found):
        return None
    if found:
        return f"{found[0]['Endpoint']} has not confirmed; the link is in a mail of AWS"
    return "no address is subscribed; set notify_email and run `pulumi up`"
