"""The images that workers boot from."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.contract.tables import INSTANCE_SK, instance_pk
from receipt_trainer.doctor import images
from receipt_trainer.doctor.subject import Subject
from tests.doctor.conftest import levels, look, with_outputs
from tests.doctor.wire import Answer, Wire, of_ec2


def described(state: str, created: datetime) -> Answer:
    """EC2 API Reference, DescribeImages."""
    said = f"<imageState>{state}</imageState><creationDate>{created:%Y-%m-%dT%H:%M:%S.000Z}</creationDate>"
    return of_ec2("DescribeImages", f"<imagesSet><item><imageId>ami-1</imageId>{said}</item></imagesSet>")


def test_parent_image(subject: Subject, wire: Wire) -> None:
    """A young image is well; over 60 days it is a warning; without parameter or image it is a failure."""
    now = datetime.now(UTC)
    for age, level in ((59, "ok"), (61, "warning")):
        wire.answers["DescribeImages"] = described("available", now - timedelta(days=age))
        (found,) = look(images.look_at_parent_image, dataclasses.replace(subject, now=now))
        assert found.level == level
        assert f"is {age} days old" in found.text
    del wire.answers["DescribeImages"]
    for wanted in ("/aws/service/nowhere/ami-id", "ami-0123456789abcdef0"):
        (found,) = look(images.look_at_parent_image, with_outputs(subject, parent_image=wanted))
        assert found.level == "failure"
        assert "get-parameters-by-path" in found.remedies[0]


def test_workers_image(subject: Subject, wire: Wire) -> None:
    """The parameter names an image that can be launched; the Python of the last worker is said."""
    assert levels(look(images.look_at_worker_image, subject)) == ["ok"]
    assert subject.outputs
    row = {"PK": instance_pk("i-1"), "SK": INSTANCE_SK, "python": "3.13.5", "started_at": "2026-11-27"}
    table = subject.outputs.instances_table
    dynamo.put(clients.dynamodb(), table, row, "put an instance")
    (found,) = look(images.look_at_worker_image, subject)
    clients.dynamodb().delete_item(TableName=table, Key={"PK": {"S": row["PK"]}, "SK": {"S": row["SK"]}})
    assert "Python 3.13.5" in found.text
    wire.answers["DescribeImages"] = described("deregistered", datetime.now(UTC))
    (found,) = look(images.look_at_worker_image, subject)
    assert found.level == "failure"
    assert "start-image-pipeline-execution" in found.remedies[0]
    (found,) = look(images.look_at_worker_image, with_outputs(subject, image_parameter="/gone"))
    assert (found.level, found.remedies) == ("failure", ("pulumi up --refresh --stack dev",))
