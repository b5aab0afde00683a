"""Checks for what blocks jobs: groups that launch nothing, boots that fail, lost messages, wrong job files.

Lost messages are also sent anew, as the stack's function does, but at once.
"""

from __future__ import annotations

import json
import os
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.config.job_file import AnyJob, PaddleOcrVlJob, load_job_file
from receipt_trainer.contract import names, waiting, waiting_calls
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.contract.waiting import Look
from receipt_trainer.contract.waiting_calls import Healed, Survey
from receipt_trainer.doctor.findings import Finding, cannot_look, failure, guarded, ok, one_line, warning
from receipt_trainer.doctor.subject import Subject
from receipt_trainer.errors import UserError
from receipt_trainer.fleet.groups import Group, read_groups
from receipt_trainer.jobs import queue
from receipt_trainer.jobs.instances import GONE, list_instances
from receipt_trainer.jobs.routing import choose_pool
from receipt_trainer.jobs.rows import Wanted, find
from receipt_trainer.jobs.state_machine import is_held


def look_at_groups(subject: Subject) -> Iterator[Finding]:
    """Whether each pool may launch: not suspended, its maximum above 0 and above what it has while jobs wait."""
    client, sqs = (subject.client(name) for name in ("autoscaling", "sqs"))
    for pool, out in subject.pool_outputs.items():
        try:
            group = read_groups(client, [out.auto_scaling_group])[out.auto_scaling_group]
        except UserError as error:
            if error.__cause__ is None:
                yield failure(f"pool {pool}: {error}", subject.command("pulumi up --refresh"))
            else:
                yield cannot_look(f"pool {pool}", error)
        else:
            num_waiting = sum(waiting_calls.count(sqs, url).num_visible for url in out.queue_urls.values())
            yield _judge(pool, group, num_waiting, subject)


def _judge(pool: str, group: Group, num_waiting: int, subject: Subject) -> Finding:
    text = f"pool {pool}: {group.desired} instances, {group.maximum} at most, {num_waiting} jobs queued"
    if group.is_suspended:
        resume = f"aws autoscaling resume-processes --auto-scaling-group-name {group.name} --scaling-processes Launch"
        return failure(f"{text}; launches are suspended, as after three failed boots", resume)
    if group.maximum == 0:
        start = f"receipt-trainer fleet --start --pool {pool}{subject.given}"
        return warning(f"{text}: it is stopped", start)
    if num_waiting and group.desired >= group.maximum:
        more = f"receipt-trainer fleet --start --pool {pool} --max-instances {group.maximum + 1}{subject.given}"
        return warning(f"{text}: it is at its maximum, jobs wait for each other", more)
    return ok(text)


def look_at_boots(subject: Subject) -> Iterator[Finding]:
    """Check the last instances; rows of the table are kept for a week."""
    if subject.outputs is None:
        return
    rows = list_instances(Table(subject.client("dynamodb"), subject.outputs.instances_table), subject.now)
    if not rows:
        yield ok("no instance has started in a week")
    for pool in subject.pool_outputs:
        own = [row for row in rows if row.pool == pool]
        bad = [row for row in own if row.status in GONE and row.status != "ENDED"]
        if not bad:
            if own:
                yield ok(f"pool {pool}: {len(own)} instances in a week, no failed boot")
            continue
        text = f"pool {pool}: {len(bad)} of {len(own)} instances of a week failed; the last: {one_line(bad[0].reason)}"
        see = f"aws logs tail {subject.outputs.boot_log_group} --since 7d --log-stream-name-prefix {bad[0].instance_id}"
        yield failure(text, see) if bad[0] is own[0] else warning(text, see)


_MAX_NAMED: Final = 3


def look_at_messages(subject: Subject) -> Iterator[Finding]:
    """Jobs that have not ended, against the messages that stand for them; SQS's numbers are approximate."""
    if subject.outputs is None:
        return
    dynamodb, sqs = (subject.client(name) for name in ("dynamodb", "sqs"))
    table = subject.outputs.jobs_table
    with aws_faults("look for jobs without a message", table=table):
        found = waiting_calls.survey(dynamodb, sqs, table, subject.outputs.places(), subject.now)
    mend = f"receipt-trainer doctor --heal{subject.given}"
    for one in found.seen:
        text = queue.words(one.look)
        if one.look.num_missing and any(job.is_overdue(subject.now) for job in one.jobs):
            yield warning(f"{text}: {_when(one.last, subject.now)}", mend)
        else:
            yield ok(text)
        odd = [job.job_id for job in one.jobs if not job.is_readable]
        if odd:
            see = f"receipt-trainer job-status{subject.given} {odd[0]}"
            yield warning(f"{one.place.label}: rows that no worker can read: {_named(odd)}", see)
    if found.homeless:
        text = f"{len(found.homeless)} in queues that are gone: {_named([job.job_id for job, _ in found.homeless])}"
        yield warning(f"jobs wait {text}; they go to the new queues", mend)
    if found.strays:
        strays = [job.job_id for job in found.strays]
        cancel = [f"receipt-trainer cancel{subject.given} {job_id}" for job_id in strays[:_MAX_NAMED]]
        text = f"jobs wait in queues that this stack does not have, no worker takes them: {_named(strays)}"
        yield warning(text, *cancel, "Submit them again to an existing pool.")
    for label, error in found.faults.items():
        yield cannot_look(f"queue {label}", error)
    held = [str(row["job_id"]) for row in find(Table(dynamodb, table), Wanted(status="INTERRUPTED")) if is_held(row)]
    if held:
        retry = [f"receipt-trainer retry{subject.given} {job_id}" for job_id in held[:_MAX_NAMED]]
        text = f"jobs are held, their complete runs are not delivered: {_named(held)}; once the cause is gone"
        yield warning(text, *retry)


def _when(last: Look | None, now: datetime) -> str:
    if queue.is_recent(last, now):
        return "they get a new one within ten minutes, or at once"
    since = f"since {last.at:%Y-%m-%d %H:%M} UTC" if last else "yet"
    return f"the stack's function, which sends new ones, has not looked {since}"


def _named(job_ids: list[str]) -> str:
    more = len(job_ids) - _MAX_NAMED
    return ", ".join(job_ids[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


STEP_S: Final = 15.0
"""Between two words about how long it still takes."""
Say = Callable[[str], None]


def heal(
    outputs: StackOutputs,
    dynamodb: Any,
    sqs: Any,
    say: Say,
    wait_says: Say,
    *,
    clock: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
) -> Healed:
    """Look twice, five minutes apart, and send what is missing. The function's last look counts as the first.

    Args:
        say, wait_says: take a line about what was found or done, and every few seconds about how long it still takes.

    Raises:
        UserError, WorldError: the jobs table cannot be read.
    """

    def look() -> tuple[Survey, Healed]:
        with aws_faults("look for jobs without a message", table=outputs.jobs_table):
            found = waiting_calls.survey(dynamodb, sqs, outputs.jobs_table, outputs.places(), clock())
            return found, waiting_calls.heal(dynamodb, sqs, outputs.jobs_table, found)

    found, done = look()
    for one in found.seen:
        say(queue.words(one.look))
    _tell(done, say)
    again = [one for one in found.seen if one.look.num_missing and not one.unsent]
    if again:
        queues = ", ".join(one.place.label for one in again)
        at = max(one.look.short_since or one.look.at for one in again) + timedelta(seconds=waiting.WAIT_S)
        say(f"{queues}: a second look, five minutes after the first, must agree: at {at:%H:%M:%S} UTC")
        while (left_s := (at - clock()).total_seconds()) > 0:
            wait_says(f"the second look comes in {left_s // 60:.0f} min {left_s % 60:.0f} s")
            sleep(min(left_s, STEP_S))
        later, second = look()
        _tell(second, say)
        for one in later.seen:
            if one.place.label in {was.place.label for was in again} and not one.look.num_missing:
                say(f"{queue.words(one.look)}: no message is missing now")
        return Healed(done.sent | second.sent, done.moved | second.moved, done.faults | second.faults)
    return done


def _tell(done: Healed, say: Say) -> None:
    for label, job_ids in done.sent.items():
        count = "1 new message" if len(job_ids) == 1 else f"{len(job_ids)} new messages"
        say(f"{label}: {count}: {', '.join(job_ids)}")
    for label, job_ids in done.moved.items():
        say(f"{label}: from a queue that is gone: {', '.join(job_ids)}")


HUB: Final = "https://huggingface.co"
CACHE: Final = "hf_cache/hub"
"""Prefix in the wheels bucket of what lands in every worker's cache."""

_TIMEOUT_S: Final = 10
_ON_WORKERS: Final = (names.TRAINING_MOUNT, names.CHECKPOINTS_MOUNT, names.HF_CACHE_DIR)
_REFUSED: Final = (401, 403, 404)


def look_at_jobs(subject: Subject) -> Iterator[Finding]:
    """Every job file that was named."""
    if not subject.job_files:
        yield ok("no job file was named; `receipt-trainer doctor JOB.yaml` looks at its model, too")
    for path in subject.job_files:
        try:
            spec = load_job_file(path).spec
            if subject.outputs:
                choose_pool(spec.resources, list(subject.outputs.pools))
        except UserError as error:
            yield failure(one_line(error), f"receipt-trainer submit-job --dry-run{subject.given} --config {path}")
            continue
        for one in guarded(f"model {spec.model}", partial(look_at_job, spec, subject)):
            yield replace(one, text=f"{path}: {one.text}")


def look_at_job(spec: AnyJob, subject: Subject) -> Iterator[Finding]:
    """Whether workers can get a job's model and have its files."""
    model, text = spec.model, f"model {spec.model}"
    if model == "tiny":
        yield ok(f"{text} comes with the trainer")
    elif model.startswith(("/", ".", "~")) or Path(model).is_dir():
        yield _folder(text, model)
    elif (found := _package(text, model, subject)) is not None:
        yield found
    elif subject.nat is None:
        up = subject.command("pulumi up")
        yield warning(f"{text}: network.nat is not known, the outputs are of an older stack", up)
    else:
        yield _copy(text, model, subject) if subject.nat == "none" else _hub(text, model)
    for name in _files(spec):
        if not _is_on_workers(name):
            yield _folder(f"data {name}", name)


def _files(spec: AnyJob) -> list[str]:
    """The files and folders that a job reads."""
    if isinstance(spec, PaddleOcrVlJob):
        return [spec.data_config.dataset_path]
    data = spec.data_config
    parts = [part.strip() for part in data.dataset_name.split(",") if part.strip() != "dynamodb"]
    return [*parts, *(name for name in (data.eval_dataset, data.split_file) if name is not None)]


def _is_on_workers(name: str) -> bool:
    return any(PurePosixPath(name).is_relative_to(mount) for mount in _ON_WORKERS)


def _folder(text: str, name: str) -> Finding:
    """A folder of the workers cannot be seen from here; one of this machine is not there."""
    if _is_on_workers(name):
        return warning(f"{text} is a folder of the workers, which is not seen from here", "ls it in a session.")
    return failure(
        f"{text} is on this machine, and on no worker",
        f"Put it under {names.TRAINING_MOUNT} in a session, and name it so in the job file.",
    )


def _package(text: str, model: str, subject: Subject) -> Finding | None:
    """Of a model that is a wheel of the stack's wheelhouse; None: it is not known to be one."""
    if subject.outputs is None:
        return ok(f"{text} comes with the wheelhouse") if model == names.WEIGHTS_PACKAGE else None
    if "/" in model:  # a name on the hub
        return None
    bucket, key = subject.outputs.wheels_bucket, f"{subject.outputs.wheelhouse_prefix}/manifest.json"
    wheels = json.loads(subject.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())["wheels"]
    if any(wheel["name"] == model for wheel in wheels):
        return ok(f"{text} comes with the wheelhouse, to every worker")
    if model == names.WEIGHTS_PACKAGE:
        return failure(f"{text} is not in the stack's wheelhouse, which is an older one", subject.command("pulumi up"))
    return None


def _copy(text: str, model: str, subject: Subject) -> Finding:
    """Without the internet workers have what the wheels bucket has."""
    if subject.outputs is None:
        return warning(f"{text}: workers have no internet; check again when the stack is up", "pulumi up")
    bucket, folder = subject.outputs.wheels_bucket, f"models--{model.replace('/', '--')}"
    found = subject.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"{CACHE}/{folder}/", MaxKeys=1)
    if found.get("KeyCount"):
        return ok(f"{text} is in s3://{bucket}/{CACHE}/, from where images and boots take it")
    remedies = [
        f"hf download {shlex.quote(model)}",
        f"aws s3 sync ~/.cache/huggingface/hub/{folder}/ s3://{bucket}/{CACHE}/{folder}/ --exclude '*/blobs/*'",
    ]
    if pipeline := subject.outputs.image_pipeline_arn:
        remedies.append(f"aws imagebuilder start-image-pipeline-execution --image-pipeline-arn {pipeline}")
    return failure(f"{text} is on the hub, which no worker reaches (network.nat none)", *remedies)


def _hub(text: str, model: str) -> Finding:
    """Workers reach the hub; whether it has the model is seen from here, without a token, as they have none."""
    url = f"{os.environ.get('HF_ENDPOINT') or HUB}/{model}/resolve/main/config.json"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_TIMEOUT_S):  # noqa: S310
            return ok(f"{text} is on the hub, which workers reach")
    except urllib.error.HTTPError as error:
        if error.code in _REFUSED:
            return failure(
                f"{text}: the hub has no such public model (HTTP {error.code})", f"Correct it, see {HUB}/models."
            )
        return warning(f"{text}: the hub answers HTTP {error.code}", "Look again later.")
    except (OSError, ValueError) as error:
        return warning(f"{text}: the hub was not reached from here: {one_line(error)}", "Look again later.")
