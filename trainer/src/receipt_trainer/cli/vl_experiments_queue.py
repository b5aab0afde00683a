"""Experiments as jobs: queued, and read back when the workers have trained them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from receipt_trainer.cli.commands.submit_job import place
from receipt_trainer.config.job_file import AnyJob
from receipt_trainer.contract.job import Resources
from receipt_trainer.contract.outputs import PoolName, Priority
from receipt_trainer.contract.run_record import AnyRecord, read_record
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.routing import resolve
from receipt_trainer.sweep.experiments import Result, from_record, read_log, step_of, write_log
from receipt_trainer.sweep.folder import Experiment

if TYPE_CHECKING:
    from receipt_trainer.jobs.model import Job

_ENDED = {"SUCCEEDED": "complete", "FAILED": "failed", "CANCELLED": "failed"}


def submit_experiments(
    experiments: Sequence[Experiment],
    output: Path,
    queue_url: str | None,
    priority: Priority,
    pool: PoolName | None,
    jobs_table: str | None,
) -> None:
    """Queue a job for each experiment, and keep their ids in the log of `output`.

    The same experiment is queued once for a queue, however often this is done.

    Raises:
        UserError: no queue is known, or an experiment of that name has another configuration.
    """
    from receipt_trainer.jobs.submit import new_job, queue_job

    known = read_log(output)
    for experiment in experiments:
        result = known.get(experiment.name)
        if result is not None and result.digest != experiment.digest:
            raise UserError(f"{experiment.file} was changed after {experiment.name} ran: give it another name")

    def job_of(experiment: Experiment) -> Job:
        spec, url = place(job_spec(experiment, priority, pool), queue_url, pool)
        return new_job(spec, url, client_token=_token(experiment))

    # All of them are made before the first is queued: what one of them is refused for, all are.
    jobs = {experiment.name: job_of(experiment) for experiment in experiments if experiment.name not in known}
    for experiment in experiments:
        if experiment.name in known:
            click.echo(f"{experiment.name}: {known[experiment.name].status}")
            continue
        job = queue_job(jobs[experiment.name], jobs_table, client_token=_token(experiment))
        known[experiment.name] = Result(
            name=experiment.name,
            digest=experiment.digest,
            changes=experiment.said,
            status="submitted",
            job_id=job.job_id,
        )
        write_log(output, known.values())
        click.echo(f"{experiment.name}: job {job.job_id}")


def _token(experiment: Experiment) -> str:
    return f"vl experiment {experiment.name} {experiment.digest}"


def job_spec(experiment: Experiment, priority: Priority, pool: PoolName | None) -> AnyJob:
    """The job that trains as `vl train` would, with every hyperparameter in it."""
    changes: dict[str, Any] = {"job_name": experiment.name, "description": experiment.said[:500], "priority": priority}
    if pool is not None:
        changes["resources"] = Resources(pool=pool)
    return resolve(experiment.job.model_copy(update=changes))


def refresh_results(folder: Path, results: Sequence[Result], jobs_table: str | None) -> list[Result]:
    """Results of queued experiments as their jobs are now; the log is written anew.

    Eval loss, scores, hours, memory and stability come from the run's record among the job's artifacts. Field accuracy
    and TEDS are unknown of a job whose `evaluation` is not enabled.
    """
    from receipt_trainer.aws import clients
    from receipt_trainer.jobs.rows import get_job
    from receipt_trainer.jobs.submit import jobs_table_of_environment

    table, client = jobs_table or jobs_table_of_environment(), clients.dynamodb()
    found = [
        _refreshed(result, get_job(client, table, result.job_id))
        if result.status == "submitted" and result.job_id
        else result
        for result in results
    ]
    write_log(folder, found)
    return found


def _refreshed(result: Result, row: Mapping[str, Any]) -> Result:
    status = str(row["status"])
    if status not in _ENDED:
        return result.model_copy(update={"notes": f"job is {status}"})
    reason = str(row.get("reason") or "") if status != "SUCCEEDED" else ""
    values: dict[str, Any] = {"status": _ENDED[status], "notes": reason[:300], "failed_step": step_of(reason)}
    try:
        record = _record(row.get("artifacts"))
    except (UserError, WorldError) as error:
        return result.model_copy(update=values | {"notes": f"its record cannot be read: {error}"})
    return result.model_copy(update=values | (from_record(record) if record is not None else {}))


def _record(artifacts: object) -> AnyRecord | None:
    """The run's record in S3; None for a job that left none."""
    from pydantic import ValidationError

    from receipt_trainer.aws import clients
    from receipt_trainer.contract.names import RUN_FILE

    if not isinstance(artifacts, str) or not artifacts.startswith("s3://"):
        return None
    bucket, _, prefix = artifacts.removeprefix("s3://").partition("/")
    with clients.aws_faults(f"read {artifacts}/{RUN_FILE}"):
        text = clients.s3().get_object(Bucket=bucket, Key=f"{prefix}/{RUN_FILE}")["Body"].read()
    try:
        return read_record(text)
    except ValidationError:
        raise UserError(f"{artifacts}/{RUN_FILE} is no run record") from None
