"""The pointer in the bucket: read where it has changed, written where nobody else has written meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from receipt_trainer.aws import clients
from receipt_trainer.contract.pointer import Pointer, pointer_key
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.inference.model_place import SCHEME

_FORMAT: Final = 1
_MAX_BYTES: Final = 1 << 20
_UNCHANGED: Final = frozenset({"304", "NotModified"})
_LOST: Final = frozenset({"412", "PreconditionFailed", "ConditionalRequestConflict"})
_PROMOTE: Final = "receipt-trainer serve promote JOB"


class InvalidPointerError(UserError):
    """What lies there is not a pointer that this version reads.

    Attributes:
        etag: of the object.
    """

    def __init__(self, message: str, etag: str) -> None:
        super().__init__(message)
        self.etag = etag


@dataclass(frozen=True, slots=True)
class StoredPointer:
    """A pointer as it lies in the bucket; `etag` tells whether it is still that one."""

    pointer: Pointer
    etag: str


class PointerStore:
    """The pointer of one name in one bucket."""

    def __init__(self, bucket: str, name: str) -> None:
        """Raises UserError: the name could be a path."""
        try:
            self.bucket, self.name, self._key = bucket, name, pointer_key(name)
        except ValueError as error:
            raise UserError(f"--name {error}") from None
        self.uri = f"{SCHEME}{bucket}/{self._key}"
        self._client: Any = None

    def find(self) -> StoredPointer | None:
        """The pointer as it is now; None if there is none.

        Raises:
            InvalidPointerError: what lies there is not one.
            UserError, WorldError: S3 cannot be read.
        """
        return self._get()

    def require(self) -> StoredPointer:
        """As `find`.

        Raises:
            UserError: no model was promoted.
        """
        found = self._get()
        if found is None:
            raise UserError(f"{self.uri} is not there: no model was promoted as '{self.name}'; do it with: {_PROMOTE}")
        return found

    def changed(self, etag: str) -> StoredPointer | None:
        """The pointer, unless it is still the one with this ETag; a pointer that is gone is a UserError."""
        try:
            return self._get(IfNoneMatch=etag) or self.require()
        except WorldError as error:
            if clients.error_code(error.__cause__) in _UNCHANGED:
                return None
            raise

    def replace(self, pointer: Pointer, former: StoredPointer | None) -> None:
        """Write the pointer in the place of the one that was read.

        Args:
            former: None: there was none.

        Raises:
            WorldError: somebody else has written one meanwhile; S3 cannot be written.
        """
        condition = {"IfNoneMatch": "*"} if former is None else {"IfMatch": former.etag}
        body = pointer.model_dump_json(indent=1).encode() + b"\n"
        with clients.aws_faults(f"write {self.uri}"):
            try:
                self._s3().put_object(
                    Bucket=self.bucket, Key=self._key, Body=body, ContentType="application/json", **condition
                )
            except self._s3().exceptions.ClientError as error:
                if clients.error_code(error) not in _LOST:
                    raise
                why = "somebody else has promoted a model meanwhile; nothing was changed: compare again"
                raise WorldError(f"{self.uri}: {why}") from None

    def _s3(self) -> Any:
        if self._client is None:
            self._client = clients.brief("s3")  # a server asks again in a minute
        return self._client

    def _get(self, **condition: str) -> StoredPointer | None:
        client = self._s3()
        with clients.aws_faults(f"read {self.uri}"):
            try:
                found = client.get_object(Bucket=self.bucket, Key=self._key, **condition)
            except client.exceptions.NoSuchKey:
                return None
            etag, said = str(found["ETag"]), bytes(found["Body"].read(_MAX_BYTES))
        return StoredPointer(self._parse(said, etag), etag)

    def _parse(self, said: bytes, etag: str) -> Pointer:
        try:
            values = json.loads(said)
            made_by = values.get("format") if isinstance(values, dict) else None
            if isinstance(made_by, int) and made_by > _FORMAT:
                raise InvalidPointerError(
                    f"{self.uri}: format {made_by} of a newer version; upgrade receipt-trainer", etag
                )
            return Pointer.model_validate(values)
        except (ValueError, RecursionError) as error:
            why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise InvalidPointerError(
                f"{self.uri}: not a pointer ({' '.join(why.split())[:120]}); promote a model again: {_PROMOTE}", etag
            ) from None
