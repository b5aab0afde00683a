"""Corrections kept in the receipts table, photos beside it in a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receipt_trainer.aws import clients
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.dynamodb.assemble import ReceiptKey, assemble
from receipt_trainer.data.sources.dynamodb.correct import keep_photo, receipt_items, write_corrected
from receipt_trainer.errors import UserError
from receipt_trainer.serving.corrections import Correction, Photo, Saved, receipts_of, saved

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_s3.client import S3Client

PHOTO_TYPES = ("image/jpeg", "image/png", "image/webp", "image/tiff", "image/heic", "application/pdf")
"""Content types of photos that are kept."""


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
        known = None if correction.review_key is None else self._stored(correction.review_key)
        receipts = receipts_of(receipt_id, correction, known)
        if photo is not None and self._bucket is not None and self._s3 is not None:
            if photo.content_type not in PHOTO_TYPES:
                raise UserError(
                    f"a photo of type {photo.content_type[:60]!r} is not kept: {', '.join(PHOTO_TYPES)} are"
                )
            image_id, content = receipts[0].image_id, (photo.content, photo.content_type)
            keep_photo(self._client, self._s3, self._table, self._bucket, image_id, *content)
        for receipt in receipts:
            write_corrected(self._client, self._table, receipt)
        return saved(receipt_id, "table", receipts, correction.confirmed)

    def _stored(self, review_key: str) -> Receipt:
        image_id, _, number = review_key.rpartition("#")
        if not (image_id and number.isdecimal()):
            raise UserError(f"review_key {review_key!r} is no key of a receipt")
        key = ReceiptKey(f"IMAGE#{image_id}", f"RECEIPT#{number}")
        problems = ProblemLog()
        items = receipt_items(self._client, self._table, key, "find a receipt")
        found = assemble(key, items.values(), problems)
        if found is None:
            raise UserError(f"review_key {review_key!r}: no such receipt in {self._table}{problems.said()}")
        return found
