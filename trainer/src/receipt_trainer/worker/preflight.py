"""What every job of a worker would fail for, looked for before the worker waits for the first one."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.contract.tables import JOBS
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_MISTAKES: Final = frozenset(
    {errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR}
    | {errno.EPERM, errno.EROFS}
)
"""What makes a folder the wrong one; anything else is a fault of the file system."""


def require_jobs_table(client: DynamoDBClient, table: str) -> None:
    """Look at the jobs table. One of an older version has fewer indexes, but none with other keys.

    Raises:
        UserError: there is no such table, it is none of jobs, or it may not be looked at.
        WorldError: AWS could not be asked.
    """
    with aws_faults("look at the jobs table", table=table):
        found = client.describe_table(TableName=table)["Table"]
    indexes = {one["IndexName"]: _keys(one["KeySchema"]) for one in found.get("GlobalSecondaryIndexes", [])}
    wanted = {index.name: {"HASH": index.partition, "RANGE": index.sort} for index in JOBS.indexes}
    is_other = any(indexes[name] != keys for name, keys in wanted.items() if name in indexes)
    if is_other or _keys(found["KeySchema"]) != {"HASH": "PK", "RANGE": "SK"} or not {"GSI1", "GSI2"} <= indexes.keys():
        raise UserError(f"--jobs-table {table}: that is no table of jobs: its keys or indexes are others")


def _keys(schema: object) -> dict[str, str]:
    return {key["KeyType"]: key["AttributeName"] for key in schema}  # type: ignore[attr-defined]


def require_folder(folder: Path) -> None:
    """Write to the folder of the runs, which is made if it is not there.

    Raises:
        UserError: it is none, or nothing can be written there.
        WorldError: the file system fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"probe")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        said = "is no folder" if isinstance(error, FileExistsError | NotADirectoryError) else str(error.strerror)
        kind = UserError if error.errno in _MISTAKES else WorldError
        raise kind(f"--checkpoints-dir {folder}: {said}; jobs keep their checkpoints there") from error
