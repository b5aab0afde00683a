"""Submits training jobs: the row first, the message second, each once a token."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.config.job_file import AnyJob, read_job
from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.contract import names
from receipt_trainer.contract.job import MAX_ROW_BYTES, half_character, no_text, too_long
from receipt_trainer.contract.outputs import PoolName, Priority
from receipt_trainer.contract.waiting import new_deduplication_id
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.limits import Limits
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.routing import resolve

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_sqs.client import SQSClient


_TOKENS: Final = uuid.UUID("6f1d1f4e-5c0b-4f5e-9d3a-2b8f5a7c9e10")
"""Namespace of the job ids that come from client tokens."""


def submit_training_job(
    *,
    queue_url: str,
    model_name: str = names.DEFAULT_MODEL,
    training_config: TrainingConfig | None = None,
    data_config: DataConfig | None = None,
    priority: Priority = "normal",
    job_name: str | None = None,
    pool: PoolName | None = None,
    client_token: str | None = None,
    jobs_table: str | None = None,
    training_defaults: Mapping[str, Any] | None = None,
    dynamodb: DynamoDBClient | None = None,
    sqs: SQSClient | None = None,
    **more: Any,
) -> str:
    """Queue a job and return its id.

    Args:
        queue_url: of the FIFO queue whose workers shall take it.
        model_name: hub name, directory, installed package of weights, or 'tiny'.
        training_config: how to train; what it leaves unset is taken from `training_defaults`, the stack's.
        priority, pool: kept with the job; the queue decides.
        job_name: made from the job's id if it is left out.
        client_token: calls with the same token submit one job; a submission that was cut off is completed.
        jobs_table, dynamodb, sqs: by default those of the environment (JOBS_TABLE_NAME).
        more: other fields of `JobSpec`: description, tags, max_failures, notify, max_hours, max_usd.

    Raises:
        UserError: a wrong value, no such queue or table, or a token that stands for another job.
        WorldError: AWS could not be reached; where the job is stored already, the message says how to queue it.
    """
    training, data = training_config or TrainingConfig(), data_config or DataConfig()
    asked = {
        "job_name": job_name or "unnamed",
        "model": model_name,
        "training_config": training.model_dump(mode="json", exclude_unset=True),
        "data_config": data.model_dump(mode="json", exclude_unset=True),
        "priority": priority,
        "resources": {"pool": pool},
        **{name: value for name, value in more.items() if value is not None},
    }
    job = new_job(
        read_job(asked, "submit_training_job"),
        queue_url,
        defaults=training_defaults,
        client_token=client_token,
        is_named=job_name is not None,
    )
    return queue_job(job, jobs_table, client_token=client_token, dynamodb=dynamodb, sqs=sqs).job_id


def new_job(
    spec: AnyJob,
    queue_url: str,
    *,
    defaults: Mapping[str, Any] | None = None,
    client_token: str | None = None,
    is_named: bool = True,
    notify: bool = False,
) -> Job:
    """A job that is stored nowhere yet, with all of its configuration resolved.

    Args:
        spec: as asked, unset fields left out of its two configurations; `resources.pool` is the pool it goes to.
        defaults: the stack's TrainingConfig fields.
        client_token: the job's id follows from it.
        is_named: whether `job_name` is the user's; if not, the job is named by its id.
        notify: whether a job that says nothing of it sends a notice when it has ended.

    Raises:
        UserError: a token that is empty or not text, invalid defaults, or a job that is too large.
    """
    if client_token is not None and not client_token.strip():
        raise UserError("the client token is empty; leave it out, or give a text that stands for this job")
    if client_token is not None and half_character(client_token):
        raise UserError("the client token is not UTF-8 text")
    job_id = str(uuid.uuid5(_TOKENS, client_token) if client_token is not None else uuid.uuid4())
    wanted = json.dumps([queue_url, spec.asked()], sort_keys=True)
    named = spec if is_named else spec.model_copy(update={"job_name": f"job-{job_id[:8]}"})
    resolved = resolve(named, defaults)
    if resolved.notify is None and notify:
        resolved = resolved.model_copy(update={"notify": True})
    if (found := too_long(resolved) or no_text(resolved)) is not None:
        raise UserError(f"{'.'.join(found[0])} {found[1]}")
    job = Job(
        job_id=job_id,
        name=resolved.job_name,
        status="PENDING",
        max_failures=resolved.max_failures,
        pool=resolved.resources.pool,
        priority=resolved.priority,
        queue_url=queue_url,
        model=resolved.model,
        spec=resolved.model_dump(mode="json"),
        description=resolved.description,
        tags=resolved.tags,
        request_hash=hashlib.sha256(wanted.encode("utf-8", "surrogatepass")).hexdigest(),
    )
    _check_row(job)
    return job


def _check_row(job: Job) -> None:
    """Refuse a job whose row would leave no room for what its life adds; the UserError says what most of it is."""
    size = dynamo.size_bytes(job.to_row())
    if size > MAX_ROW_BYTES:
        parts = {name: len(json.dumps(value, ensure_ascii=False).encode()) for name, value in job.spec.items()}
        largest = max(parts, key=lambda name: parts[name])
        raise UserError(
            f"the job takes {size:,} bytes in the jobs table; at most {MAX_ROW_BYTES:,}. "
            f"Most of it is {largest} ({parts[largest]:,} bytes)"
        )


def queue_job(
    job: Job,
    jobs_table: str | None = None,
    *,
    client_token: str | None = None,
    dynamodb: DynamoDBClient | None = None,
    sqs: SQSClient | None = None,
) -> Job:
    """Look at the job's queue, then `submit`; arguments as of `submit_training_job`."""
    queue = SqsQueue(sqs or clients.sqs(), job.queue_url or "")
    queue.check()
    table = JobTable(dynamodb or clients.dynamodb(), jobs_table or jobs_table_of_environment())
    return submit(job, table, queue, client_token=client_token)


def submit(job: Job, table: JobTable, queue: SqsQueue, *, client_token: str | None = None) -> Job:
    """Store the job and send its message; a job that is there already is sent again only if no worker has seen it.

    Returns the job as it is stored, which may be further on. UserError: the token stands for another job.
    """
    stored = table.create(job)
    if stored.request_hash != job.request_hash:
        raise UserError(
            f"client token '{client_token}' stands for job {stored.job_id} ({stored.name}), which asks for something "
            "else; another job needs another token"
        )
    if stored.status == "PENDING" and stored.attempt == 0:
        _send(stored, queue, None)
    return stored


def retry_job(
    job_id: str,
    *,
    limits: Limits | None = None,
    jobs_table: str | None = None,
    dynamodb: DynamoDBClient | None = None,
    sqs: SQSClient | None = None,
) -> Job:
    """Queue a FAILED or CANCELLED job again, a held one, or a waiting one whose message got lost.

    A message too many does no harm: the worker that takes it is refused the job and deletes it. It is of a group of its
    own: behind one that is hidden for hours, it would wait as long. The call may be repeated after a WorldError.

    Args:
        limits: what the job may take at most from now on, earlier attempts counted; unset ones stay.

    Raises:
        UserError: no such job, it runs, it has succeeded, or it has reached a limit.
    """
    table = JobTable(dynamodb or clients.dynamodb(), jobs_table or jobs_table_of_environment())
    job, new = table.retry(job_id, limits), new_deduplication_id(job_id)
    _send(job, SqsQueue(sqs or clients.sqs(), job.queue_url or ""), new, new)
    return job


def _send(job: Job, queue: SqsQueue, deduplication_id: str | None, group: str | None = None) -> None:
    try:
        queue.send(job.job_id, deduplication_id, group, job.body_version)
    except (UserError, WorldError) as error:
        raise type(error)(
            f"job {job.job_id} is stored but not queued: {error}; queue it with: receipt-trainer retry {job.job_id}; "
            "a stack that recreated the queue queues it there by itself, or at once by receipt-trainer doctor --heal"
        ) from error


def jobs_table_of_environment() -> str:
    """The name in JOBS_TABLE_NAME; UserError if it is not set."""
    table = os.environ.get(names.ENV_JOBS_TABLE)
    if not table:
        raise UserError(f"the jobs table is not known; set {names.ENV_JOBS_TABLE}, or give --jobs-table or --stack")
    return table


if __name__ == "__main__":
    # The documented `python -m receipt_trainer.jobs.submit`: the program itself is started in this one's place.
    os.execv(sys.executable, (sys.executable, "-m", "receipt_trainer", "submit-job", *sys.argv[1:]))  # noqa: S606
