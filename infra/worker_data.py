"""What a worker is told at boot, once the stack knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from infra.boot import BootEnv, render_user_data
from infra.naming import Naming
from infra.worker_pool import LIFECYCLE_HOOK
from receipt_trainer.contract import names
from receipt_trainer.contract.env import WorkerEnv
from receipt_trainer.contract.outputs import PoolName, Priority


@dataclass(frozen=True)
class WorkerData:
    """What all pools are told alike.

    Attributes:
        boot: fields of BootEnv that are not of one pool.
        worker: fields of WorkerEnv that are not of one pool.
    """

    naming: Naming
    region: str
    boot: Mapping[str, pulumi.Input[Any]]
    worker: Mapping[str, pulumi.Input[str]]

    def user_data(self, pool: PoolName, queue_urls: Mapping[Priority, pulumi.Input[str]]) -> pulumi.Output[str]:
        """User data of the workers of one pool.

        Raises:
            pulumi.RunError: a value that does not survive bash or systemd, or too much text (when values are known).
        """
        shared = {"pool": pool, "auto_scaling_group": self.naming.name("workers", pool)}
        boot = {**self.boot, **shared, "region": self.region, "environment": self.naming.environment}
        worker = {
            **self.worker,
            **shared,
            "project": self.naming.project,
            "environment": self.naming.environment,
            "region": self.region,
            "queue_url_high": queue_urls["high"],
            "queue_url_normal": queue_urls["normal"],
            "lifecycle_hook": LIFECYCLE_HOOK,
            "checkpoints_dir": names.CHECKPOINTS_MOUNT,
            "training_dir": names.TRAINING_MOUNT,
            "hf_home": names.HF_CACHE_DIR,
            "aws_cli": names.DEFAULT_AWS_CLI,
        }
        return pulumi.Output.all(pulumi.Output.all(**boot), pulumi.Output.all(**worker)).apply(_render)


def _render(values: list[dict[str, Any]]) -> str:
    try:
        return render_user_data(BootEnv.build(**values[0]), WorkerEnv.build(**values[1]))
    except ValueError as error:
        raise pulumi.RunError(f"user data: {error}") from error
