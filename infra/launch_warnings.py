"""What keeps launches or bakes from working and is no setting: said at preview, a line each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import pulumi
import pulumi_aws as aws

MAX_AGE_DAYS: Final = 60
"""A line of the Deep Learning AMI that is patched is built anew twice a month."""


def warn(parent_image: str, region: str) -> None:
    """Say what is wrong with the parent image and with the key of volumes; nothing here stops an update."""
    for line in (*_of_parent(parent_image, datetime.now(UTC)), *_of_key(region)):
        pulumi.warn(line)


def _of_parent(parent_image: str, now: datetime) -> list[str]:
    """Of an SSM parameter whose image grows old; an image that is named by its id is old by choice."""
    if parent_image.startswith("ami-"):
        return []
    image_id = aws.ssm.get_parameter(name=parent_image).value
    # Of any owner, also if it is deprecated, as AWS's own are after a while.
    filters = [aws.ec2.GetAmiFilterArgs(name="image-id", values=[image_id])]
    created = aws.ec2.get_ami(filters=filters, include_deprecated=True).creation_date
    days = (now - datetime.fromisoformat(created)).days
    if days <= MAX_AGE_DAYS:
        return []
    return [
        f"golden_ami.parent_image: {parent_image}: its image {image_id} was made {days} days ago: that line is "
        "patched no more, and no schedule will bake another; choose a newer one, as docs/configuration.md says"
    ]


def _of_key(region: str) -> list[str]:
    """Whether volumes are encrypted with a key of the account's own, which AWS's services may not use unasked.

    Source: EC2 Auto Scaling User Guide, "Required AWS KMS key policy for use with encrypted volumes".
    """
    key = aws.ebs.get_default_kms_key().key_arn
    if key.endswith("alias/aws/ebs"):
        return []
    # What was set back to AWS's key may be answered with that key's own ARN.
    if aws.kms.get_key(key_id=key).key_manager == "AWS":
        return []
    return [
        f"volumes: the default EBS key in {region} is {key}, a customer managed one: launches end in "
        "Client.InternalError and bakes fail unless its policy admits them; either "
        f"`aws ec2 reset-ebs-default-kms-key-id --region {region}`, or admit them, as docs/operations.md says"
    ]
