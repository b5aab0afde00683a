"""`receipt-trainer start-worker`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from receipt_trainer.aws import clients
from receipt_trainer.aws import imds as metadata
from receipt_trainer.aws.artifacts import S3Artifacts
from receipt_trainer.aws.autoscaling import GroupMember
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.cli.options import PATH, receipts_source_option
from receipt_trainer.cli.stack import local_session, outputs, stack_options
from receipt_trainer.contract import names
from receipt_trainer.contract.env import WorkerEnv
from receipt_trainer.contract.outputs import PRIORITIES
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.local.session import join, lifeline
from receipt_trainer.worker import settings as preflight
from receipt_trainer.worker.cloudwatch_metrics import Outcomes
from receipt_trainer.worker.interruptions import Interruption, Watch
from receipt_trainer.worker.log_forwarder import job_log
from receipt_trainer.worker.loop import Worker
from receipt_trainer.worker.registry import InstanceRegistry, WorkerMachine, identify
from receipt_trainer.worker.settings import WorkerSettings


@click.command("start-worker")
@click.option("--queue-url", "queue_urls", multiple=True, metavar="URL", help="Job queue; repeat, in order of polling.")
@receipts_source_option
@click.option("--jobs-table", envvar=names.ENV_JOBS_TABLE, help="Name of the jobs table.")
@click.option("--instance-registry-table", envvar=names.ENV_INSTANCES_TABLE, help="Name of the instances table.")
@click.option("--artifacts-bucket", envvar=names.ENV_ARTIFACTS_BUCKET, help="Sync finished runs to this bucket.")
@click.option(
    "--checkpoints-dir",
    envvar=names.ENV_CHECKPOINTS_DIR,
    type=PATH,
    help=f"Folder of the runs, shared by all workers ({names.DEFAULT_OUTPUT_ROOT}).",
)
@click.option("--mount-efs", is_flag=True, help="Refuse to start unless that folder is on a mounted file system.")
@click.option(
    "--idle-timeout",
    type=click.FloatRange(min=0),
    default=600.0,
    metavar="S",
    help="Exit after so many seconds without a job; 0: as soon as the queues are empty.",
)
@click.option("--max-jobs", type=click.IntRange(min=1), help="Exit after so many jobs.")
@stack_options
def command(**flags: Any) -> None:
    """Take jobs from the queues and train them, one at a time, until the queues are empty.

    SIGTERM, Ctrl-C or a spot notice ends the worker within a minute: the job is saved and returns to the queue.
    On an instance all names come from the stack, and the instance ends with the worker.
    """
    env = WorkerEnv.read(os.environ)
    settings = _settings(flags, env)
    is_instance = env.auto_scaling_group is not None
    _require_mount(settings.checkpoints_dir, flags["mount_efs"] or is_instance)
    if settings.artifacts_bucket:  # without the AWS CLI every job would fail
        S3Artifacts(settings.artifacts_bucket, "runs", cli=env.aws_cli).check()
    preflight.require_folder(settings.checkpoints_dir)
    with ExitStack() as held:
        if (session := local_session()) is not None:
            os.environ[names.ENV_IMDS] = held.enter_context(join(session))
        imds = metadata.find(expected=is_instance)
        worker = _worker(settings, flags, env, identify(imds, pool=env.pool))
        preflight.require_jobs_table(clients.dynamodb(), settings.jobs_table)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(
                number, lambda number, frame: worker.interrupt(Interruption("signal", signal.Signals(number).name))
            )
        if session is not None:
            ended = Interruption("signal", "the local session has ended")
            held.enter_context(lifeline(session, lambda: worker.interrupt(ended)))
        if imds is not None:
            held.callback(Watch(imds, worker.interrupt, worker.advise).close)
        reason = worker.run()
    click.echo(f"the worker ended: {reason}")


def _settings(flags: dict[str, Any], env: WorkerEnv) -> WorkerSettings:
    if not flags["jobs_table"]:
        raise UserError(f"--jobs-table is needed (or {names.ENV_JOBS_TABLE}, --stack, --outputs)")
    return WorkerSettings(
        checkpoints_dir=(flags["checkpoints_dir"] or Path(names.DEFAULT_OUTPUT_ROOT)).absolute(),
        jobs_table=flags["jobs_table"],
        receipts_table=flags["dynamo_table"],
        artifacts_bucket=flags["artifacts_bucket"],
        idle_timeout_s=flags["idle_timeout"],
        max_jobs=flags["max_jobs"],
        checkpoints_days=_days(lambda: env.num_checkpoints_days),
    )


def _days(read: Callable[[], int]) -> int:
    try:
        return read()
    except ValueError as error:
        raise UserError(str(error)) from None


def _queue_urls(given: tuple[str, ...], env: WorkerEnv) -> tuple[str, ...]:
    """The given ones, or the pool's own, high before normal; in the local session, where no pool is named, all.

    Raises:
        UserError: there are none, or the stack has several pools and none is named.
    """
    urls = given or tuple(url for url in (env.queue_url_high, env.queue_url_normal) if url)
    stack = outputs()
    if not urls and stack is not None:
        pools = {str(name): pool for name, pool in stack.pools.items()}
        if env.pool is None and local_session() is not None:
            return tuple(one.queue_urls[priority] for priority in PRIORITIES for one in pools.values())
        pool = env.pool or (next(iter(pools)) if len(pools) == 1 else "")
        if pool not in pools:
            raise UserError(f"{names.ENV_POOL} must name a pool of the stack: {', '.join(pools)}; or give --queue-url")
        urls = tuple(pools[pool].queue_urls[priority] for priority in PRIORITIES)
    if not urls:
        raise UserError(
            f"--queue-url is needed (or --stack, --outputs, {names.ENV_QUEUE_URL_HIGH}, {names.ENV_QUEUE_URL_NORMAL})"
        )
    return urls


def _worker(settings: WorkerSettings, flags: dict[str, Any], env: WorkerEnv, machine: WorkerMachine) -> Worker:
    sqs, dynamodb = clients.sqs(), clients.dynamodb()
    instances, group, instance_id = flags["instance_registry_table"], env.auto_scaling_group, machine.instance_id
    member = outcomes = None
    if group is not None and instance_id is not None:
        member = GroupMember(clients.autoscaling(), group, instance_id, hook=env.lifecycle_hook)
    if env.environment is not None and env.pool is not None:
        price = machine.price_usd_per_h
        outcomes = Outcomes(clients.cloudwatch(), env.environment, env.pool, price_usd_per_h=price)
    return Worker(
        settings,
        JobTable(dynamodb, settings.jobs_table),
        [SqsQueue(sqs, url, visibility_s=settings.visibility_s) for url in _queue_urls(flags["queue_urls"], env)],
        machine,
        registry=InstanceRegistry(dynamodb, instances, machine) if instances else None,
        member=member,
        outcomes=outcomes,
        open_log=job_log(Table(dynamodb, settings.jobs_table), _days(lambda: env.num_rows_days)),
    )


def _require_mount(folder: Path, wanted: bool) -> None:
    """Checkpoints on an instance's own disk die with it.

    Raises:
        UserError: the folder is on no mounted file system but the root's.
    """
    mount = next((path for path in (folder, *folder.parents) if path.is_mount()), Path("/"))
    if wanted and mount == Path(mount.anchor):
        raise UserError(
            f"--mount-efs: {folder} is on the root file system; mount the checkpoints there "
            f"(an instance has them at {names.CHECKPOINTS_MOUNT}), or leave --mount-efs out"
        )
