"""Receipts deleted from the receipts table, with all that belongs to them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.clients import aws_faults, error_code
from receipt_trainer.contract import tables
from receipt_trainer.data.receipt import CORRECTIONS
from receipt_trainer.data.sources.dynamodb.assemble import ReceiptKey
from receipt_trainer.data.sources.dynamodb.correct import image_item, receipt_items
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_s3.client import S3Client


@dataclass(slots=True)
class Deletion:
    """What a deletion takes, or has taken, and what it cannot."""

    receipts: int = 0
    items: int = 0
    photo_versions: int = 0
    remains: list[str] = field(default_factory=list)

    def add(self, other: Deletion) -> None:
        """Count another receipt's in."""
        self.receipts += other.receipts
        self.items += other.items
        self.photo_versions += other.photo_versions
        self.remains += other.remains


def delete_receipt(
    client: DynamoDBClient,
    s3: S3Client,
    table: str,
    key: ReceiptKey,
    *,
    gone: Collection[ReceiptKey] = (),
    dry_run: bool = False,
) -> Deletion:
    """Delete a receipt with its labels and marks and, if no other is on its image, the photo with all its versions.

    The RECEIPT item goes first, so that no part of a receipt is ever read as one; running again completes.

    Args:
        gone: receipts that count as deleted already.
        dry_run: count only.

    Raises:
        WorldError: AWS did not answer within the retries, or refused.
    """
    doing = "delete a receipt"
    items = receipt_items(client, table, key, doing)
    done = Deletion(receipts=int(bool(items)), items=len(items))
    order = sorted(items, key=lambda sk: sk != key.sk)
    if not dry_run:
        for sk in order[:1]:
            dynamo.batch_write(client, table, doing, deletes=[{"PK": key.pk, "SK": sk}])
        dynamo.batch_write(client, table, doing, deletes=[{"PK": key.pk, "SK": sk} for sk in order[1:]])
    image_id = key.pk.removeprefix(tables.image_pk(""))
    image = image_item(client, table, image_id)
    others = set(receipts_of_image(client, table, image_id)) - {key, *gone}
    if image is None or others:
        return done
    if image.get("written_by") != CORRECTIONS:
        done.remains.append(
            f"the image s3://{image.get('raw_s3_bucket')}/{image.get('raw_s3_key')}, which others wrote"
        )
        return done
    done.items += 1
    try:
        done.photo_versions = _delete_photo(s3, image["raw_s3_bucket"], image["raw_s3_key"], dry_run=dry_run)
    except (UserError, WorldError) as error:
        if error_code(error.__cause__) not in ("AccessDenied", "NoSuchBucket"):
            raise
        done.remains.append(f"the photo s3://{image['raw_s3_bucket']}/{image['raw_s3_key']}: {error}")
        return done
    if not dry_run:
        dynamo.batch_write(client, table, doing, deletes=[{"PK": image["PK"], "SK": image["SK"]}])
    return done


def receipts_of_image(client: DynamoDBClient, table: str, image_id: str) -> list[ReceiptKey]:
    """The receipts on an image, also those of which only parts are there."""
    pk = tables.image_pk(image_id)
    found = dynamo.query(
        client,
        table,
        "find receipts",
        KeyConditionExpression="PK = :pk AND begins_with(SK, :receipt)",
        ProjectionExpression="SK",
        ExpressionAttributeValues={":pk": pk, ":receipt": "RECEIPT#"},
        ConsistentRead=True,
    )
    return sorted({ReceiptKey(pk, "#".join(str(item["SK"]).split("#")[:2])) for item in found})


def _delete_photo(s3: S3Client, bucket: str, key: str, *, dry_run: bool) -> int:
    """Delete every version of an object, markers of deletion included; how many there are."""
    count = 0
    with aws_faults(f"delete s3://{bucket}/{key}"):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
            for each in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                if each["Key"] == key:
                    count += 1
                    if not dry_run:
                        s3.delete_object(Bucket=bucket, Key=key, VersionId=each["VersionId"])
    return count
