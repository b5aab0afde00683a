"""Deletes checkpoints from which no run resumes: of a job that was finished here, and of any while there is no job.

Those of a SUCCEEDED job go once its results are in S3, those of a FAILED or CANCELLED one after some days. A folder is
touched only by the holder of its lock, as a run is, and after the job's row has said that they go: a `retry` at the
same moment either finds them or learns that they are gone, and its run waits for the lock.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.server_time import since_boot_s, utc_now
from receipt_trainer.contract.tables import JOB_SK, job_pk, moment
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.model import UnreadableRow
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.training import checkpoints, folder
from receipt_trainer.training.folder import FolderHeldError

INTERVAL_S: Final = 3600.0
"""Between two looks of a worker that has nothing to do."""
MAX_FOLDERS: Final = 200
"""Folders that one look reads, chosen at random: the next looks see the others."""
MAX_LOOK_S: Final = 20.0
"""After so long no further folder is begun: a job may have come."""

_log = structlog.get_logger(__name__)


class Retention:
    """Never raises; what is not deleted is left to the next look. `days`: see `WorkerSettings.checkpoints_days`."""

    def __init__(
        self,
        checkpoints_dir: Path,
        table: JobTable,
        days: int,
        *,
        clock: Callable[[], float] = since_boot_s,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._root, self._table, self._age = checkpoints_dir / "jobs", table, timedelta(days=days)
        self._clock, self._now = clock, now
        self._next_at = clock()

    def finished(self, job_id: str) -> None:
        """A job of this worker has SUCCEEDED."""
        self._try([job_id], lambda: False)

    def look(self, is_called: Callable[[], bool]) -> None:
        """Delete what is due, if the last look is long enough ago; ends early once `is_called`."""
        if self._clock() < self._next_at:
            return
        self._next_at = self._clock() + INTERVAL_S
        try:
            with os.scandir(self._root) as entries:
                found = [one.name for one in entries if _ID.fullmatch(one.name) and one.is_dir(follow_symlinks=False)]
        except OSError:  # there is none yet, or it is for the next job to say what is wrong
            return
        chosen = random.sample(found, min(MAX_FOLDERS, len(found)))
        self._try([name for name in chosen if _folders(self._root / name)], is_called)

    def _try(self, job_ids: Sequence[str], is_called: Callable[[], bool]) -> None:
        try:
            due = self._due(job_ids)
        except (UserError, WorldError) as error:
            _log.warning("what checkpoints may go is not known", error=str(error))
            return
        until = self._clock() + MAX_LOOK_S
        for job_id in due:
            if is_called() or self._clock() > until:
                return
            try:
                self._delete(job_id)
            except FolderHeldError:  # it is being trained there
                continue
            except (UserError, WorldError, UnreadableRow, OSError) as error:
                _log.warning("checkpoints are not deleted", job_id=job_id, error=str(error))

    def _due(self, job_ids: Sequence[str]) -> list[str]:
        """Those whose checkpoints may go, by what their rows say at a first look."""
        keys = [{"PK": job_pk(job_id), "SK": JOB_SK} for job_id in job_ids]
        wanted = ("job_id", "status", "updated_at", "artifacts")
        doing = "read jobs that have checkpoints"
        rows = dynamo.batch_get(*self._table.table, doing, keys, wanted) if keys else []
        ended = {str(row["job_id"]) for row in rows if self._may_go(row.get("status"), row)}
        known = {str(row["job_id"]) for row in rows}
        return [job_id for job_id in job_ids if job_id in ended or (job_id not in known and self._is_orphan(job_id))]

    def _may_go(self, status: object, row: dynamo.Item) -> bool:
        if status == "SUCCEEDED":
            return str(row.get("artifacts")).startswith("s3://")
        changed_at = moment(row.get("updated_at"))
        is_old = changed_at is not None and changed_at <= self._now() - self._age
        return status in ("FAILED", "CANCELLED") and is_old

    def _is_orphan(self, job_id: str) -> bool:
        """Whether the job's row was deleted by hand: others of its rows are there. Without any, it may be the job of
        another table whose workers share the folder, which does not matter here."""
        run_dir = self._root / job_id
        try:
            newest = max(path.stat().st_mtime for path in (run_dir, *_folders(run_dir)))
        except OSError:
            return False
        is_old = datetime.fromtimestamp(newest, UTC) <= self._now() - self._age
        return is_old and self._table.has_history(job_id)

    def _delete(self, job_id: str) -> None:
        run_dir = self._root / job_id
        with folder.own(run_dir):
            job = self._table.find(job_id)
            if job is not None:
                still = self._may_go(job.status, {"artifacts": job.artifacts, "updated_at": job.updated_at})
                if not (still and self._table.forget_checkpoints(job)):
                    return
            steps = []
            for path in _folders(run_dir):
                checkpoints.remove(path)
                steps.append(path.name)
            self._table.delete_checkpoint_rows(job_id)
        _log.info("checkpoints deleted", job_id=job_id, status=job.status if job else None, folders=steps)


_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _folders(run_dir: Path) -> list[Path]:
    """A run's checkpoints; a link is not one, wherever it leads."""
    try:
        return [path for path in checkpoints.folders(run_dir) if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []
