"""Where a worker's data is, and its times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from receipt_trainer.contract.names import DEFAULT_CHECKPOINTS_DAYS


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Where the worker's data is, and its times in seconds.

    Attributes:
        checkpoints_dir: holds the runs' folders; shared by all workers that may take the same jobs.
        jobs_table: name of the jobs table.
        receipts_table: name of the receipts table, for jobs that train on it.
        artifacts_bucket: where finished runs are copied.
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
