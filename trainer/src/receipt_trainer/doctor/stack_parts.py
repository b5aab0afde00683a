"""Checks of a stack's parts: tables, queues, buckets, file system, and the images that its workers boot from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.clients import error_code, read_parameter
from receipt_trainer.contract import waiting_calls
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.doctor.findings import Finding, cannot_look, failure, ok, warning
from receipt_trainer.doctor.subject import Subject

_MISSING = frozenset(
    {
        *("ResourceNotFoundException", "NoSuchBucket", "404", "FileSystemNotFound"),
        *("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"),
    }
)


def look_at_tables(subject: Subject) -> Iterator[Finding]:
    """Each is there and ACTIVE, its indexes too."""
    client, outputs = subject.client("dynamodb"), _outputs(subject)

    def state(name: str) -> str:
        table = client.describe_table(TableName=name)["Table"]
        states = [table["TableStatus"], *(one["IndexStatus"] for one in table.get("GlobalSecondaryIndexes") or ())]
        return next((one for one in states if one != "ACTIVE"), "")

    names = (outputs.receipts_table, outputs.jobs_table, outputs.instances_table)
    yield from _each("table", names, state, subject)


def look_at_queues(subject: Subject) -> Iterator[Finding]:
    """Each pool's two queues and its dead-letter queue are there; dead letters are said."""
    client = subject.client("sqs")
    for pool, out in subject.pool_outputs.items():
        urls = (*out.queue_urls.values(), out.dead_letter_queue_url)
        found = list(
            _each(f"pool {pool}: queue", urls, lambda url: client.get_queue_attributes(QueueUrl=url) and "", subject)
        )
        yield from found
        if any(one.level != "ok" for one in found):
            continue
        if dead := waiting_calls.count(client, out.dead_letter_queue_url).num_visible:
            receive = f"aws sqs receive-message --queue-url {out.dead_letter_queue_url} --visibility-timeout 0"
            yield Finding("warning", f"pool {pool}: {dead} dead letters", (receive,))


def look_at_buckets(subject: Subject) -> Iterator[Finding]:
    """Both are there."""
    client, outputs = subject.client("s3"), _outputs(subject)
    names = (outputs.artifacts_bucket, outputs.wheels_bucket)
    yield from _each("bucket", names, lambda name: client.head_bucket(Bucket=name) and "", subject)


def look_at_files(subject: Subject) -> Iterator[Finding]:
    """The file system and its mount targets are available, one a zone. Source: EFS API Reference, LifeCycleState."""
    client, outputs = subject.client("efs"), _outputs(subject)
    name = outputs.file_system_id

    def state(name: str) -> str:
        found: str = client.describe_file_systems(FileSystemId=name)["FileSystems"][0]["LifeCycleState"]
        return "" if found == "available" else found

    found = list(_each("file system", (name,), state, subject))
    yield from found
    if found[0].level != "ok":
        return
    targets = client.describe_mount_targets(FileSystemId=name)["MountTargets"]
    states = [one["LifeCycleState"] for one in targets]
    up, wanted = states.count("available"), len(outputs.private_subnet_ids)
    if up < wanted:
        text = f"{up} of {wanted} mount targets are available: workers in the other zones cannot boot"
        yield failure(text, subject.command("pulumi up --refresh"))
    else:
        yield ok(f"{up} mount targets are available")


def _outputs(subject: Subject) -> StackOutputs:
    if subject.outputs is None:
        raise ValueError("a look at a stack needs its outputs")
    return subject.outputs


def _each(kind: str, names: tuple[str, ...], state: Callable[[str], str], subject: Subject) -> Iterator[Finding]:
    """One line for all that are well, and one for each other; `state` says "" of what is well."""
    well = []
    for name in names:
        short = name.rpartition("/")[2]
        try:
            said = state(name)
        except Exception as error:  # one that cannot be looked at hides no other
            if error_code(error) in _MISSING:
                yield failure(f"{kind} {short} does not exist", subject.command("pulumi up --refresh"))
            else:
                yield cannot_look(f"{kind} {short}", error)
        else:
            if said:
                yield failure(f"{kind} {short} is {said}", "Wait until AWS is done with it, then look again.")
            else:
                well.append(short)
    if well:
        yield ok(f"{kind}{'s' if len(well) > 1 else ''} {', '.join(well)}")


OLD_DAYS: Final = 60
"""A line of images that AWS maintains is built anew more often (DLAMI release notes)."""

_LINES: Final = (
    "aws ssm get-parameters-by-path --path /aws/service/deeplearning/ami/x86_64 --recursive --query"
    " \"Parameters[?contains(Name, 'amazon-linux-2023/latest')].Name\""
)


def look_at_parent_image(subject: Subject) -> Iterator[Finding]:
    """It exists, and AWS still builds it anew."""
    wanted = subject.parent_image
    if not wanted:
        yield warning("the parent image is not known: the outputs are of an older stack", subject.command("pulumi up"))
        return
    set_it = subject.command("pulumi config set --path receipt-trainer:golden_ami.parent_image NAME")
    image = wanted if wanted.startswith("ami-") else read_parameter(subject.client("ssm"), wanted)
    if image is None:
        yield failure(f"there is no parameter {wanted} in {subject.region}", _LINES, set_it)
        return
    found = _image(subject, image)
    if found is None:
        yield failure(f"parent image {image} does not exist for this account", _LINES, set_it)
        return
    days = (subject.now - datetime.fromisoformat(found["CreationDate"])).days
    text = f"parent image {image} is {days} days old"
    yield warning(f"{text}: is its line still built?", _LINES, set_it) if days > OLD_DAYS else ok(text)


def look_at_worker_image(subject: Subject) -> Iterator[Finding]:
    """Check that the image of the stack's parameter can be launched; show the Python that workers last found on it."""
    outputs = subject.outputs
    if outputs is None:
        return
    bake = f"aws imagebuilder start-image-pipeline-execution --image-pipeline-arn {outputs.image_pipeline_arn}"
    mend = bake if outputs.image_pipeline_arn else subject.command("pulumi up --refresh")
    image = read_parameter(subject.client("ssm"), outputs.image_parameter)
    if image is None:
        mend = subject.command("pulumi up --refresh")
        yield failure(f"parameter {outputs.image_parameter} is gone: nothing can be launched", mend)
        return
    found = _image(subject, image)
    if found is None or found.get("State") != "available":
        yield failure(f"{outputs.image_parameter} names {image}, which cannot be launched", mend)
        return
    python = _python(subject, outputs.instances_table)
    known = f"Python {python} at the last start of a worker" if python else "its Python shows with the first worker"
    yield ok(f"workers boot {image}; {known}")


def _image(subject: Subject, image: str) -> dict[str, Any] | None:
    try:
        found = subject.client("ec2").describe_images(ImageIds=[image])["Images"]
    except Exception as error:
        if error_code(error).startswith("InvalidAMIID"):
            return None
        raise
    return found[0] if found else None


def _python(subject: Subject, table: str) -> str | None:
    """As the worker that started last wrote it."""
    client = subject.client("dynamodb")
    kept = {"FilterExpression": "attribute_exists(python)", "ProjectionExpression": "python, started_at"}
    rows = sorted(dynamo.scan(client, table, "read the instances", **kept), key=lambda row: str(row["started_at"]))
    return str(rows[-1]["python"]) if rows else None
