"""Where a worker's data is, and its times."""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.contract.names import DEFAULT_CHECKPOINTS_DAYS
from receipt_trainer.contract.tables import JOBS
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Where the worker's data is, and its times in seconds.

    Attributes:
        checkpoints_dir: holds the runs' folders; shared by all workers that may take the same jobs.
        visibility_s: for how long a received message is hidden, anew at every beat.
        lease_s: for how long a claim holds, anew at every beat; shorter, so that a message never comes back to a lease.
        lease_margin_s: so long before its lease ends a training process ends itself: clocks differ.
        beat_s: between two heartbeats.
        poll_s: of the long poll of the last queue; an interruption of an idle worker waits so long at most.
        idle_timeout_s: without a job; then the worker goes.
        stop_grace_s: for a checkpoint on request.
        kill_grace_s: for a killed process to be gone; one that waits inside the kernel may never be.
        stall_s: without progress; then a training process is taken for stuck. Nothing that is well is silent for so
            long: a step, an evaluation batch and a thousand receipts read are seconds, a model of 2 GB is downloaded
            at 10 Mbit/s or written as a checkpoint in less than 30 minutes, and an upload names its own bound.
        max_receive_s: for which one message is held; SQS forgets a receive after 12 hours.
        retry_delay_s: before a failed job is tried again; the first pause of one whose run is not delivered.
        save_interval_s: between two checkpoints at most: what an instance that vanishes takes with it.
        checkpoints_days: for which checkpoints of FAILED and CANCELLED jobs are kept.
        max_jobs: how many jobs the worker takes before it goes; None: no limit.
    """

    checkpoints_dir: Path
    jobs_table: str
    receipts_table: str | None = None
    artifacts_bucket: str | None = None
    visibility_s: int = 300
    lease_s: int = 240
    lease_margin_s: float = 5.0
    beat_s: float = 60.0
    poll_s: int = 5
    idle_timeout_s: float = 600.0
    stop_grace_s: float = 40.0
    kill_grace_s: float = 30.0
    stall_s: float = 1800.0
    max_receive_s: float = 11 * 3600.0
    retry_delay_s: int = 30
    save_interval_s: float = 600.0
    checkpoints_days: int = DEFAULT_CHECKPOINTS_DAYS
    max_jobs: int | None = None


_MISTAKES: Final = frozenset(
    {errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR}
    | {errno.EPERM, errno.EROFS}
)
"""Errors that mean a wrong folder; others are faults of the file system."""


def require_jobs_table(client: DynamoDBClient, table: str) -> None:
    """Look at the jobs table. One of an older version has fewer indexes, but none with other keys.

    Raises:
        UserError: there is no such table, or it is not a jobs table.
    """
    with aws_faults("look at the jobs table", table=table):
        found = client.describe_table(TableName=table)["Table"]
    indexes = {one["IndexName"]: _keys(one["KeySchema"]) for one in found.get("GlobalSecondaryIndexes", [])}
    wanted = {index.name: {"HASH": index.partition, "RANGE": index.sort} for index in JOBS.indexes}
    is_other = any(indexes[name] != keys for name, keys in wanted.items() if name in indexes)
    if is_other or _keys(found["KeySchema"]) != {"HASH": "PK", "RANGE": "SK"} or not {"GSI1", "GSI2"} <= indexes.keys():
        raise UserError(f"--jobs-table {table}: not a table of jobs: its keys or indexes differ")


def _keys(schema: object) -> dict[str, str]:
    return {key["KeyType"]: key["AttributeName"] for key in schema}  # type: ignore[attr-defined]


def require_folder(folder: Path) -> None:
    """Write to the folder of the runs, which is made if it is not there.

    Raises:
        UserError: it is not a folder, or nothing can be written there.
        WorldError: the file system fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"probe")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        said = "is not a folder" if isinstance(error, FileExistsError | NotADirectoryError) else str(error.strerror)
        kind = UserError if error.errno in _MISTAKES else WorldError
        raise kind(f"--checkpoints-dir {folder}: {said}; jobs keep their checkpoints there") from error
