"""Plain values of one worker's boot, for tests that change a few of them."""

from __future__ import annotations

from typing import Any

from infra.pools.user_data import BootEnv
from receipt_trainer.contract import names
from receipt_trainer.contract.env import WorkerEnv

BOOT: dict[str, Any] = {
    "region": "us-east-1",
    "environment": "dev",
    "pool": "gpu",
    "wheels_bucket": "receipt-trainer-dev-wheels-1a2b3c4",
    "wheelhouse_prefix": "wheelhouse/0123456789abcdef",
    "wheelhouse_hash": "0123456789abcdef",
    "file_system_id": "fs-0123456789abcdef0",
    "checkpoints_access_point_id": "fsap-0123456789abcdef0",
    "training_access_point_id": "fsap-0123456789abcdef1",
    "boot_log_group": "/receipt-trainer/dev/boot",
    "worker_log_group": "/receipt-trainer/dev/worker",
    "auto_scaling_group": "receipt-trainer-dev-workers-gpu",
    "instances_table": "receipt-trainer-dev-instances",
}
_QUEUES = "https://sqs.us-east-1.amazonaws.com/123456789012"
WORKER: dict[str, str | None] = {
    "project": names.PROJECT,
    "environment": "dev",
    "pool": "gpu",
    "region": "us-east-1",
    "receipts_table": "receipt-trainer-dev-receipts",
    "jobs_table": "receipt-trainer-dev-jobs",
    "instances_table": "receipt-trainer-dev-instances",
    "artifacts_bucket": "receipt-trainer-dev-artifacts-1a2b3c4",
    "queue_url_high": f"{_QUEUES}/jobs-gpu-high-1a2b3c4.fifo",
    "queue_url_normal": f"{_QUEUES}/jobs-gpu-normal-1a2b3c4.fifo",
    "auto_scaling_group": "receipt-trainer-dev-workers-gpu",
    "lifecycle_hook": "checkpoint",
    "checkpoints_dir": names.CHECKPOINTS_MOUNT,
    "training_dir": names.TRAINING_MOUNT,
    "hf_home": names.HF_CACHE_DIR,
    "training_parameter": "/receipt-trainer/dev/training",
    "worker_log_group": "/receipt-trainer/dev/worker",
    "aws_cli": names.DEFAULT_AWS_CLI,
    "checkpoints_days": "14",
    "rows_days": "365",
}


def boot_env(**changes: Any) -> BootEnv:
    """The boot's values with `changes`."""
    return BootEnv.build(**BOOT | changes)


def worker_env(**changes: str) -> WorkerEnv:
    """The worker's values with `changes`."""
    return WorkerEnv.build(**WORKER | changes)
