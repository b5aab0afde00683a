"""The folder of a run: whose it is, what it holds, and how it is emptied."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from receipt_trainer.contract import names
from receipt_trainer.contract.run_record import AnyRecord, load_record
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.training import distributed


class FolderHeldError(UserError):
    """Another process trains there: a mistake on a laptop, a matter of waiting for a worker."""


class FolderError(UserError):
    """The folder cannot be written: a mistake on a laptop, a mount that is gone under a worker."""


def fail(run_dir: Path, error: str) -> None:
    """Mark the run's record as failed, if it has one and the disk takes it."""
    path = run_dir / names.RUN_FILE
    if path.is_file() and distributed.is_main():
        record = load_record(path)
        if record.status == "complete":
            return  # what failed came after: the upload, which the next call repeats
        record.status, record.error = "failed", error
        with suppress(OSError):  # a full disk: what it failed of is the fault to report
            record.write(path)


def is_complete(run_dir: Path) -> bool:
    """Whether the folder holds a complete run; a record that cannot be read says nothing of that."""
    try:
        return load_record(run_dir / names.RUN_FILE).status == "complete"
    except (OSError, ValueError):
        return False


@contextmanager
def own(run_dir: Path) -> Iterator[None]:
    """Hold the run's folder against other processes; those of the same run wait until it is theirs.

    Raises:
        FolderHeldError: another process holds it.
        FolderError: it cannot be written.
        UserError: it is somebody else's.
    """
    if not distributed.is_main():
        distributed.wait_for_all()
        yield
        return
    is_new = not run_dir.exists()
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock: Any = (run_dir / ".lock").open("a")
    except OSError as error:
        raise FolderError(f"{run_dir}: cannot write there: {error.strerror}") from None
    with lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # flock's would live on in a killed run's workers
        except (BlockingIOError, PermissionError):
            raise FolderHeldError(f"{run_dir}: another process is training there") from None
        except OSError as error:
            raise FolderError(f"{run_dir}: cannot be locked there: {error.strerror}") from None
        _require_ours(run_dir)
        distributed.wait_for_all()
        try:
            yield
        except (UserError, WorldError):
            if [path.name for path in run_dir.iterdir()] == [".lock"]:  # what did not begin leaves nothing behind
                (run_dir / ".lock").unlink()
                if is_new:
                    run_dir.rmdir()
            raise


def _require_ours(run_dir: Path) -> None:
    """Check that files which a run overwrites or deletes belong to a run."""
    foreign = [path for path in [*run_dir.glob("checkpoint-*"), run_dir / names.MODEL_DIR] if path.exists()]
    if foreign and not (run_dir / names.RUN_FILE).is_file():
        raise UserError(f"{run_dir} holds {foreign[0].name} but no {names.RUN_FILE}; choose another --output-dir")


def earlier(run_dir: Path) -> AnyRecord | None:
    """The record of the run that the folder holds; UserError: there is an invalid run.json."""
    path = run_dir / names.RUN_FILE
    if not path.is_file():
        return None
    try:
        return load_record(path)
    except ValueError:
        raise UserError(
            f"{path} is not a run record; choose another --output-dir, or --restart to start over"
        ) from None


def clear(run_dir: Path) -> None:
    """Remove what a run writes, and nothing else; the record goes first."""
    for name in (names.RUN_FILE, names.REPORT_FILE, names.PREDICTIONS_FILE):
        (run_dir / name).unlink(missing_ok=True)
    leftovers = run_dir.glob(f".{names.MODEL_DIR}.*")
    for path in [run_dir / names.MODEL_DIR, run_dir / "tensorboard", *leftovers, *run_dir.glob("checkpoint-*")]:
        if path.is_dir():
            shutil.rmtree(path)
