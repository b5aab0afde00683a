"""What a person made of a receipt, into the receipts table, and its photo beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.aws.dynamo import Item
from receipt_trainer.contract import tables
from receipt_trainer.data.corrected import corrected, same_words
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import CORRECTIONS, Receipt, Word
from receipt_trainer.data.sources.dynamodb.assemble import (
    LINE,
    ReceiptKey,
    assemble,
    label_item,
    part_items,
    receipt_item,
    receipt_key,
    review_item,
)
from receipt_trainer.data.sources.dynamodb.write import mark_importing
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_s3.client import S3Client

PHOTOS_PREFIX: Final = "photos/"
"""Prefix of kept photos in the artifacts bucket; the image's id follows."""
_DOING: Final = "save a correction"
_TRANSACTION: Final = 100
"""Items in one TransactWriteItems (DynamoDB's limit)."""


def write_corrected(client: DynamoDBClient, table: str, receipt: Receipt) -> None:
    """Write what a person made of a receipt; written again, it changes nothing.

    Its review and its labels say what was judged. Where a crash cuts it short, each word is as it was or as it shall
    be, and the receipt counts as confirmed only if it was before: the mark of confirmation is written last. A receipt
    that is new is not read before its last item, RECEIPT, is there.

    Args:
        receipt: has a review; its words are those of the stored receipt, if there is one, in their order.

    Raises:
        UserError: the stored receipt has other words, or an import of it was stopped.
        WorldError: AWS did not answer within the retries.
    """
    key = receipt_key(receipt)
    items = receipt_items(client, table, key, _DOING)
    head = items.get(key.sk)
    if head is None:
        _write_new(client, table, receipt, items)
        return
    stored = assemble(key, items.values(), log := ProblemLog())
    if stored is None:
        raise UserError(f"{receipt.name}: the receipt in the table cannot be read{log.said()}")
    if head.get("written_by") == CORRECTIONS and not same_words(stored, receipt):  # the photo was read by another OCR
        mark_importing(client, table, key)
        _write_new(client, table, receipt, items)
    else:
        _write_over(client, table, stored, corrected(stored, receipt), items)


def receipt_items(client: DynamoDBClient, table: str, key: ReceiptKey, doing: str) -> dict[str, Item]:
    """All items of a receipt by sort key, of whatever type, read consistently."""
    found = dynamo.query(
        client,
        table,
        doing,
        KeyConditionExpression="PK = :pk AND SK BETWEEN :first AND :last",
        ExpressionAttributeValues={":pk": key.pk, ":first": key.sk, ":last": f"{key.sk}#\U0010ffff"},
        ConsistentRead=True,
    )
    return {str(item["SK"]): item for item in found}


def _write_new(client: DynamoDBClient, table: str, receipt: Receipt, leftovers: dict[str, Item]) -> None:
    if receipt.review is None:
        raise ValueError("a corrected receipt has a review")
    items = part_items(receipt)
    for item in items.values():
        _sign(item)
    head = {name: value for name, value in receipt_item(receipt).items() if name != "content_hash"}
    gone = [{"PK": item["PK"], "SK": sk} for sk, item in leftovers.items() if sk not in items and sk != head["SK"]]
    dynamo.batch_write(client, table, _DOING, deletes=gone)
    dynamo.batch_write(client, table, _DOING, puts=[*items.values(), review_item(receipt, receipt.review)])
    dynamo.put(client, table, head | {"written_by": CORRECTIONS}, _DOING)


def _sign(item: Item) -> None:
    """Say of an item that a correction wrote it, not an import."""
    item["written_by"] = CORRECTIONS
    item.pop("imported_status", None)


def _write_over(client: DynamoDBClient, table: str, stored: Receipt, receipt: Receipt, items: dict[str, Item]) -> None:
    review, before = receipt.review, stored.review
    pairs = list(zip(stored.words, receipt.words, strict=True))
    puts = [changed for old, new in pairs if (changed := list(_changed(old, new, items)))]
    if review is not None and before is None and puts:  # until all is written, nobody has confirmed it
        dynamo.put(client, table, review_item(receipt, replace(review, confirmed=False)), _DOING)
    for part in _transactions(puts):
        actions = [{"Put": {"TableName": table, "Item": dynamo.serialise(item)}} for item in part]
        with aws_faults(_DOING, table=table):
            client.transact_write_items(TransactItems=actions)  # type: ignore[arg-type]
    dynamo.batch_write(client, table, _DOING, puts=_changed_lines(stored, receipt, items))
    if review is not None and review != before:
        dynamo.put(client, table, review_item(receipt, review), _DOING)


def _changed(old: Word, new: Word, items: dict[str, Item]) -> Iterator[Item]:
    """The items of a word that are others now: its text, and its labels."""
    if new.text != old.text:
        yield items[old.place] | {"text": new.text, "extra": json.dumps(new.extra)}
    before = {each.name: each.status for each in old.labels}
    for label in new.labels:
        sk = f"{old.place}#LABEL#{label.name}"
        if label.name not in before:
            item = label_item(items[old.place]["PK"], old.place, sk, label)
            _sign(item)
            yield item
        elif before[label.name] != label.status:
            yield items[sk] | {
                "validation_status": label.status,
                "GSI3PK": tables.validation_status_pk(label.status),
                "GSI3SK": items[sk].get("GSI3SK", f"{items[sk]['PK']}#{sk}"),
                "timestamp_added": label.added,
            }


def _transactions(words: Sequence[list[Item]]) -> Iterator[list[Item]]:
    """The items in parts that are written at once, those of a word together."""
    part: list[Item] = []
    for items in words:
        if len(part) + len(items) > _TRANSACTION:
            yield part
            part = []
        part = part + items
    if part:
        yield part


def _changed_lines(stored: Receipt, receipt: Receipt, items: dict[str, Item]) -> list[Item]:
    """Lines in which the text of a word has changed; their texts are for people alone."""
    found = []
    pairs = zip(stored.words, receipt.words, strict=True)
    for line, group in groupby(pairs, key=lambda pair: pair[0].place.partition("#WORD#")[0]):
        words = list(group)
        if line in items and items[line].get("TYPE") == LINE and any(old.text != new.text for old, new in words):
            found.append(items[line] | {"text": " ".join(new.text for _, new in words)})
    return found


def image_item(client: DynamoDBClient, table: str, image_id: str) -> Item | None:
    """The IMAGE item, which names the photo of an image by `raw_s3_bucket` and `raw_s3_key`; None without one."""
    keys = [{"PK": tables.image_pk(image_id), "SK": tables.IMAGE_SK}]
    attributes = ("PK", "SK", "raw_s3_bucket", "raw_s3_key", "content_type", "written_by")
    return next(iter(dynamo.batch_get(client, table, "find a photo", keys, attributes)), None)


def keep_photo(
    client: DynamoDBClient, s3: S3Client, table: str, bucket: str, image_id: str, content: bytes, content_type: str
) -> None:
    """Put a photo into the bucket under its image's id, then name it in the IMAGE item; one of others stays.

    Raises:
        WorldError: AWS did not answer within the retries, or refused.
    """
    image = image_item(client, table, image_id)
    if image is not None and image.get("written_by") != CORRECTIONS:
        return
    key = f"{PHOTOS_PREFIX}{image_id}"
    with aws_faults(f"keep the photo s3://{bucket}/{key}"):
        s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type)
    item = {"PK": tables.image_pk(image_id), "SK": tables.IMAGE_SK, "TYPE": "IMAGE", "written_by": CORRECTIONS}
    named = {"raw_s3_bucket": bucket, "raw_s3_key": key, "content_type": content_type}
    dynamo.put(client, table, item | named, "name a photo")
