"""Tables, queues, buckets and the file system of a stack that stands, and of one that lacks a part."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.contract.tables import INSTANCE_SK, instance_pk
from receipt_trainer.doctor import stack_parts
from receipt_trainer.doctor.subject import Subject
from tests.doctor.conftest import levels, look, with_outputs
from tests.doctor.wire import Answer, Wire, as_json, no_right, of_ec2


def test_tables(subject: Subject, wire: Wire) -> None:
    """Three tables that are ACTIVE; one that is gone is a failure and hides no other; so is one that is changed."""
    (found,) = look(stack_parts.look_at_tables, subject)
    assert found.level == "ok"
    gone, rest = look(stack_parts.look_at_tables, with_outputs(subject, jobs_table="gone"))
    assert (gone.level, gone.text) == ("failure", "table gone does not exist")
    assert gone.remedies == ("pulumi up --refresh --stack dev",)
    assert "receipts" in rest.text
    wire.answers["DescribeTable"] = as_json({"Table": {"TableStatus": "UPDATING"}})
    assert levels(look(stack_parts.look_at_tables, subject)) == ["failure"] * 3
    wire.answers["DescribeTable"] = no_right("dynamodb:DescribeTable")
    found = look(stack_parts.look_at_tables, subject)[0]
    assert found.level == "warning"
    assert "dynamodb:DescribeTable" in found.text


def test_queues(subject: Subject) -> None:
    """Each pool's queues; one that is gone is a failure, dead letters are a warning with a command that reads them."""
    assert levels(look(stack_parts.look_at_queues, subject)) == ["ok", "ok"]
    assert subject.outputs
    sqs, gpu = clients.sqs(), subject.outputs.pools["gpu"]
    dead = gpu.dead_letter_queue_url
    sqs.send_message(QueueUrl=dead, MessageBody="{}", MessageGroupId="1", MessageDeduplicationId="1")
    found = look(stack_parts.look_at_queues, subject)
    sqs.purge_queue(QueueUrl=dead)
    assert levels(found) == ["ok", "warning", "ok"]
    assert found[1].remedies[0].startswith(f"aws sqs receive-message --queue-url {dead}")
    pools = {"gpu": gpu.model_copy(update={"dead_letter_queue_url": f"{dead}x"})}
    assert levels(look(stack_parts.look_at_queues, with_outputs(subject, pools=pools))) == ["failure", "ok"]


def test_buckets(subject: Subject) -> None:
    """Both buckets; one that is gone is a failure."""
    assert levels(look(stack_parts.look_at_buckets, subject)) == ["ok"]
    gone = with_outputs(subject, wheels_bucket="gone-0123456")
    assert levels(look(stack_parts.look_at_buckets, gone)) == ["failure", "ok"]


def test_a_bucket_of_somebody_else(subject: Subject, wire: Wire) -> None:
    """S3 refuses a look without a word: the warning names the right that the look needs."""
    assert subject.outputs
    wire.answers[f"/{subject.outputs.wheels_bucket}"] = Answer(403, "application/xml", "")
    found, _ = look(stack_parts.look_at_buckets, subject)
    assert found.level == "warning"
    assert "s3:ListBucket" in found.text


@pytest.mark.parametrize("broken", ["file system", "mount target"])
def test_files(broken: str, subject: Subject, wire: Wire) -> None:
    """The file system is there, with a mount target that is available in each zone."""
    assert levels(look(stack_parts.look_at_files, subject)) == ["ok", "ok"]
    if broken == "file system":
        (found,) = look(stack_parts.look_at_files, with_outputs(subject, file_system_id="fs-0123"))
    else:
        targets = [{"MountTargetId": "fsmt-1", "LifeCycleState": "available"}, {"LifeCycleState": "creating"}]
        wire.answers["/2015-02-01/mount-targets"] = as_json({"MountTargets": targets})
        _, found = look(stack_parts.look_at_files, subject)
        assert "1 of 2" in found.text
    assert (found.level, found.remedies) == ("failure", ("pulumi up --refresh --stack dev",))


def described(state: str, created: datetime) -> Answer:
    """EC2 API Reference, DescribeImages."""
    said = f"<imageState>{state}</imageState><creationDate>{created:%Y-%m-%dT%H:%M:%S.000Z}</creationDate>"
    return of_ec2("DescribeImages", f"<imagesSet><item><imageId>ami-1</imageId>{said}</item></imagesSet>")


def test_parent_image(subject: Subject, wire: Wire) -> None:
    """A young image is well; over 60 days it is a warning; without parameter or image it is a failure."""
    now = datetime.now(UTC)
    for age, level in ((59, "ok"), (61, "warning")):
        wire.answers["DescribeImages"] = described("available", now - timedelta(days=age))
        (found,) = look(stack_parts.look_at_parent_image, dataclasses.replace(subject, now=now))
        assert found.level == level
        assert f"is {age} days old" in found.text
    del wire.answers["DescribeImages"]
    for wanted in ("/aws/service/nowhere/ami-id", "ami-0123456789abcdef0"):
        (found,) = look(stack_parts.look_at_parent_image, with_outputs(subject, parent_image=wanted))
        assert found.level == "failure"
        assert "get-parameters-by-path" in found.remedies[0]


def test_workers_image(subject: Subject, wire: Wire) -> None:
    """The parameter names an image that can be launched; the Python of the last worker is said."""
    assert levels(look(stack_parts.look_at_worker_image, subject)) == ["ok"]
    assert subject.outputs
    row = {"PK": instance_pk("i-1"), "SK": INSTANCE_SK, "python": "3.13.5", "started_at": "2026-11-27"}
    table = subject.outputs.instances_table
    dynamo.put(clients.dynamodb(), table, row, "put an instance")
    (found,) = look(stack_parts.look_at_worker_image, subject)
    clients.dynamodb().delete_item(TableName=table, Key={"PK": {"S": row["PK"]}, "SK": {"S": row["SK"]}})
    assert "Python 3.13.5" in found.text
    wire.answers["DescribeImages"] = described("deregistered", datetime.now(UTC))
    (found,) = look(stack_parts.look_at_worker_image, subject)
    assert found.level == "failure"
    assert "start-image-pipeline-execution" in found.remedies[0]
    (found,) = look(stack_parts.look_at_worker_image, with_outputs(subject, image_parameter="/gone"))
    assert (found.level, found.remedies) == ("failure", ("pulumi up --refresh --stack dev",))
