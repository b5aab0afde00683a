"""The jobs table and the artifacts bucket, as a run on this machine uses them (the contract's `RunStore`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receipt_trainer.aws import clients
from receipt_trainer.aws.artifacts import S3Artifacts, run_prefix
from receipt_trainer.contract.env import WorkerEnv
from receipt_trainer.contract.job_row import State
from receipt_trainer.contract.sinks import ArtifactSink, MetricsSink, NoMetrics, Sealed
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.metrics_writer import JobStore
from receipt_trainer.jobs.repository import JobTable


@dataclass(frozen=True, slots=True)
class AwsRunStore:
    """A table and a bucket, each of which may be missing.

    Attributes:
        attempt: the worker's claim that the rows belong to; None: no worker owns the job's row.
    """

    jobs_table: str | None
    artifacts_bucket: str | None
    attempt: int | None = None

    def set_status(self, job_id: str, job_name: str, status: State) -> None:
        """See `RunStore`."""
        if self.jobs_table and self.attempt is None:
            JobTable(clients.dynamodb(), self.jobs_table).set_status(job_id, job_name, status)

    def open_metrics(
        self, job_id: str, history: Sequence[Mapping[str, Any]], sealed: Sequence[Sealed] | None
    ) -> MetricsSink:
        """See `RunStore`."""
        if not self.jobs_table:
            return NoMetrics()
        return JobStore(
            clients.dynamodb(),
            self.jobs_table,
            job_id,
            attempt=self.attempt,
            keep_days=_keep_days(),
            history=history,
            sealed=sealed,
        )

    def open_artifacts(self, job_id: str, job_name: str) -> ArtifactSink | None:
        """See `RunStore`."""
        if not self.artifacts_bucket:
            return None
        cli = WorkerEnv.read(os.environ).aws_cli
        artifacts = S3Artifacts(self.artifacts_bucket, run_prefix(job_name, job_id), cli=cli)
        try:
            artifacts.check()
            with clients.aws_faults(f"look for bucket '{self.artifacts_bucket}'"):
                clients.s3().list_objects_v2(Bucket=self.artifacts_bucket, Prefix="runs/", MaxKeys=1)
        except (UserError, WorldError) as error:
            if self.attempt is None:
                raise
            # No reason not to train: a complete run that cannot be delivered waits for it.
            print(f"warning: results could not be stored in S3 at this moment: {error}", file=sys.stderr, flush=True)
        return artifacts


def _keep_days() -> int:
    try:
        return WorkerEnv.read(os.environ).num_rows_days
    except ValueError as error:
        raise UserError(str(error)) from None
