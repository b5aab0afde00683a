"""What is said at preview of the parent image and of the key of volumes, by answers of the provider's functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from infra import preview_checks
from receipt_trainer.local.pulumi_program import run

IMAGE, KEY = "ami-0123456789abcdef0", "arn:aws:kms:us-east-1:123456789012:key/1234"
GET_AMI, GET_KEY = "aws:ec2/getAmi:getAmi", "aws:ebs/getDefaultKmsKey:getDefaultKmsKey"
DESCRIBE_KEY, GET_PARAMETER = "aws:kms/getKey:getKey", "aws:ssm/getParameter:getParameter"


def said(parent: str = "/aws/service/some/ami-id", **answers: Any) -> list[str]:
    """The warnings of a preview with these answers."""
    by_token = {"ami": GET_AMI, "key": GET_KEY, "described": DESCRIBE_KEY, "parameter": GET_PARAMETER}
    given = {by_token[name]: answer for name, answer in answers.items()}
    return run(lambda: preview_checks.warn_of_launches(parent, "us-east-1"), answers=given).messages


def made(days: float) -> dict[str, str]:
    """An image of that age, with its date as EC2 writes it."""
    return {"id": IMAGE, "creationDate": f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%S}.000Z"}


def test_all_well_is_no_word() -> None:
    """A fresh image and AWS's own key, by its alias or by its ARN, are not worth a line."""
    assert said() == []
    assert said(ami=made(59)) == []
    assert said(key={"keyArn": KEY}, described={"keyManager": "AWS"}) == []


def test_an_old_parent_image_is_said() -> None:
    """`latest` is the newest build of one line of PyTorch; when AWS builds that line no more, nothing else says so.
    The image that is looked at is the one that the parameter names."""
    asked: list[Any] = []

    def ami(arguments: dict[str, Any]) -> dict[str, str]:
        asked.append(arguments["filters"])
        return made(61)

    (line,) = said(ami=ami, parameter={"value": IMAGE})
    assert line.startswith(f"golden_ami.parent_image: /aws/service/some/ami-id: its image {IMAGE} was made 61 days ago")
    assert asked == [[{"name": "image-id", "values": [IMAGE]}]]


def test_an_image_by_its_id_is_old_by_choice() -> None:
    """Nobody is told of what was pinned on purpose, and an image that its owner took back stops no update."""

    def ami(arguments: dict[str, Any]) -> dict[str, str]:
        raise AssertionError("was asked")

    assert said(IMAGE, ami=ami) == []


def test_a_key_of_the_account_is_said_with_both_remedies() -> None:
    """Without a grant for Auto Scaling every launch ends in Client.InternalError: the line names the key, the command
    that sets AWS's own back, and the page that says what its policy must admit."""
    (line,) = said(key={"keyArn": KEY}, described={"keyManager": "CUSTOMER"})
    assert KEY in line
    assert "aws ec2 reset-ebs-default-kms-key-id --region us-east-1" in line
    assert "docs/operations.md" in line
