"""The images that workers boot from: AWS's parent image, and the one that the stack's parameter names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.clients import error_code
from receipt_trainer.doctor.findings import Finding, failure, ok, warning
from receipt_trainer.doctor.subject import Subject

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
    image = wanted if wanted.startswith("ami-") else _parameter(subject, wanted)
    if image is None:
        yield failure(f"there is no parameter {wanted} in {subject.region}", _LINES, set_it)
        return
    found = _image(subject, image)
    if found is None:
        yield failure(f"parent image {image} is not there for this account", _LINES, set_it)
        return
    days = (subject.now - datetime.fromisoformat(found["CreationDate"])).days
    text = f"parent image {image} is {days} days old"
    yield warning(f"{text}: is its line still built?", _LINES, set_it) if days > OLD_DAYS else ok(text)


def look_at_worker_image(subject: Subject) -> Iterator[Finding]:
    """What the stack's parameter names can be launched; and the Python that workers last found on it."""
    outputs = subject.outputs
    if outputs is None:
        return
    bake = f"aws imagebuilder start-image-pipeline-execution --image-pipeline-arn {outputs.image_pipeline_arn}"
    mend = bake if outputs.image_pipeline_arn else subject.command("pulumi up --refresh")
    image = _parameter(subject, outputs.image_parameter)
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


def _parameter(subject: Subject, name: str) -> str | None:
    try:
        return str(subject.clients.of("ssm", subject.region).get_parameter(Name=name)["Parameter"]["Value"])
    except Exception as error:
        if error_code(error) == "ParameterNotFound":
            return None
        raise


def _image(subject: Subject, image: str) -> dict[str, Any] | None:
    try:
        found = subject.clients.of("ec2", subject.region).describe_images(ImageIds=[image])["Images"]
    except Exception as error:
        if error_code(error).startswith("InvalidAMIID"):
            return None
        raise
    return found[0] if found else None


def _python(subject: Subject, table: str) -> str | None:
    """As the worker that started last wrote it."""
    client = subject.clients.of("dynamodb", subject.region)
    kept = {"FilterExpression": "attribute_exists(python)", "ProjectionExpression": "python, started_at"}
    rows = sorted(dynamo.scan(client, table, "read the instances", **kept), key=lambda row: str(row["started_at"]))
    return str(rows[-1]["python"]) if rows else None
