"""What an error of a run means to the worker: the exit codes of its child."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from receipt_trainer.aws.artifacts import CliError, UploadRefusedError
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.metrics_writer import RowsLeftError
from receipt_trainer.training.folder import FolderError, FolderHeldError
from receipt_trainer.worker import child
from receipt_trainer.worker.main import EXIT_FAULT, exit_code


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


REFUSED = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2")


@pytest.mark.parametrize(
    ("error", "training", "delivering"),
    [
        (UserError("the run there has other settings"), child.EXIT_MISTAKE, child.EXIT_MISTAKE),
        (WorldError("the hub cannot be reached"), EXIT_FAULT, child.EXIT_UNDELIVERED),
        (RowsLeftError("3 rows"), EXIT_FAULT, child.EXIT_UNDELIVERED),
        (caused(UserError("no such bucket"), REFUSED), EXIT_FAULT, child.EXIT_UNDELIVERABLE),
        (UploadRefusedError("AccessDenied"), child.EXIT_MACHINE, child.EXIT_UNDELIVERABLE),
        (CliError("there is no AWS CLI"), child.EXIT_MACHINE, child.EXIT_UNDELIVERABLE),
        (FolderError("read-only"), child.EXIT_MACHINE, child.EXIT_UNDELIVERABLE),
        (caused(WorldError("the disk is full"), OSError(28, "no space")), child.EXIT_MACHINE, child.EXIT_UNDELIVERABLE),
        (FolderHeldError("another process"), EXIT_FAULT, EXIT_FAULT),
    ],
)
def test_a_fault_is_the_jobs_the_machines_or_of_the_delivery(
    error: UserError | WorldError, training: int, delivering: int
) -> None:
    """A fault before the run is complete fails the attempt; after it the job is undelivered, never failed.

    Only what would hold for the next job, too, says that this machine delivers nothing.
    """
    assert exit_code(error, is_complete=False) == training
    assert exit_code(error, is_complete=True) == delivering
