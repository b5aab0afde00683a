"""Corrections kept in the receipts table, photos beside it in a bucket; and the queue of the table's receipts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from receipt_trainer.aws import clients
from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.contract.tables import image_pk
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.dynamodb.assemble import ReceiptKey, assemble
from receipt_trainer.data.sources.dynamodb.correct import image_item, keep_photo, receipt_items, write_corrected
from receipt_trainer.data.sources.dynamodb.read import read_all
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.serving.bodies import PHOTOS
from receipt_trainer.serving.corrections import Correction, Photo, Saved, receipts_of, saved
from receipt_trainer.serving.holder import Holder
from receipt_trainer.serving.review import MAX_PHOTO, ReviewQueue

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_s3.client import S3Client


class TableCorrections:
    """Corrections as rows of the receipts table, from where the next training takes them (see `Corrections`)."""

    def __init__(
        self,
        table: str,
        *,
        bucket: str | None = None,
        client: DynamoDBClient | None = None,
        s3: S3Client | None = None,
    ) -> None:
        """
        Args:
            bucket: where photos are kept, under `photos/` and the image's id; None: they are not.
            client, s3: by default new ones from the environment.
        """
        self._table, self._bucket = table, bucket
        self._client = client or clients.dynamodb()
        self._s3 = s3 or (clients.s3() if bucket else None)

    def save(self, receipt_id: str, correction: Correction, photo: Photo | None = None) -> Saved:
        """See `Corrections`."""
        known = None
        if correction.review_key is not None:
            known = stored_receipt(self._client, self._table, correction.review_key)
            if known is None:
                raise UserError(f"review_key {correction.review_key!r}: no such receipt in {self._table}")
        receipts = receipts_of(receipt_id, correction, known)
        if photo is not None and self._bucket is not None and self._s3 is not None:
            if photo.content_type not in PHOTOS:
                raise UserError(f"a photo of type {photo.content_type[:60]!r} is not kept: {', '.join(PHOTOS)} are")
            image_id, content = receipts[0].image_id, (photo.content, photo.content_type)
            keep_photo(self._client, self._s3, self._table, self._bucket, image_id, *content)
        for receipt in receipts:
            write_corrected(self._client, self._table, receipt)
        return saved(receipt_id, "table", receipts, correction.confirmed)


def stored_receipt(client: DynamoDBClient, table: str, key: str) -> Receipt | None:
    """The receipt of a key as it is in the table now; None where none is that can be read.

    Raises:
        WorldError: AWS did not answer within the retries.
    """
    image_id, _, number = key.rpartition("#")
    if not (image_id and number.isdecimal()):
        return None
    place = ReceiptKey(image_pk(image_id), f"RECEIPT#{number}")
    return assemble(place, receipt_items(client, table, place, "find a receipt").values(), ProblemLog())


def queue_of_table(
    holder: Holder, table: str, *, client: DynamoDBClient | None = None, s3: S3Client | None = None
) -> ReviewQueue:
    """The queue of a table's receipts that nobody has confirmed.

    Those of older versions that have labels are not in it: they count as labelled whole.

    Raises:
        UserError, WorldError: the table cannot be read.
    """
    connection, bucket = client or clients.dynamodb(), s3 or clients.s3()
    problems = ProblemLog()
    found = read_all(table, problems, client=connection)
    wanted = [receipt for receipt in found if receipt.review is not None or not receipt.is_labelled()]

    def photo(receipt: Receipt) -> Callable[[], bytes | None] | None:
        image = image_item(connection, table, receipt.image_id) or {}
        name, at = str(image.get("raw_s3_bucket") or ""), str(image.get("raw_s3_key") or "")
        return partial(_fetch, bucket, name, at) if name and at else None

    return ReviewQueue(holder, wanted, lambda key: stored_receipt(connection, table, key), photo, problems)


def _fetch(s3: S3Client, bucket: str, key: str) -> bytes | None:
    try:
        with aws_faults(f"fetch the photo s3://{bucket}/{key}"):
            answer = s3.get_object(Bucket=bucket, Key=key)
            return answer["Body"].read() if answer["ContentLength"] <= MAX_PHOTO else None
    except (UserError, WorldError):  # without its photo, the words are drawn
        return None
