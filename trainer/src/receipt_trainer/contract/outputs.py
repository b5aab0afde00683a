"""The stack's outputs, which every command on a laptop reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from receipt_trainer.contract import names
from receipt_trainer.contract.waiting import JobQueuePlace

PoolName = Literal["gpu", "cpu"]
Priority = Literal["high", "normal"]

POOL_NAMES: Final[tuple[PoolName, ...]] = ("gpu", "cpu")
PRIORITIES: Final[tuple[Priority, ...]] = ("high", "normal")
"""In the order in which a worker polls them."""


class _Exported(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class PoolOutputs(_Exported):
    """One worker pool: its queues and its Auto Scaling group."""

    queue_urls: dict[Priority, str] = Field(description="URL of the job queue of each priority")
    dead_letter_queue_url: str = Field(description="URL of the queue of messages that no worker could read")
    auto_scaling_group: str = Field(description="Name of the Auto Scaling group")
    launch_template_id: str = Field(description="Id of the launch template")
    instance_types: list[str] = Field(description="Instance types that may be launched")
    market: Literal["spot", "on_demand"] = Field(description="How instances beyond the on-demand base are bought")
    max_instances: int | None = Field(None, description="Instances at most, as configured; None of an older stack")
    on_demand_base: int = Field(0, description="Number of instances that are on demand first, also if market is spot")


class JobDefaults(_Exported):
    """Defaults of every job; `jobs` of the configuration."""

    max_hours: float | None = Field(None, description="See JobSpec; None: no limit")
    max_usd: float | None = Field(None, description="See JobSpec; None: no limit")
    notify: bool = Field(False, description="See JobSpec")


class StackOutputs(_Exported):
    """Exported names; unknown outputs of a newer stack are ignored when read."""

    project: str = Field(description="Name of the project, prefix of what the stack creates")
    environment: str = Field(description="Environment, such as dev; the rest of that prefix")
    region: str = Field(description="AWS region of the stack")
    receipts_table: str = Field(description="Name of the receipts table")
    jobs_table: str = Field(description="Name of the jobs table")
    instances_table: str = Field(description="Name of the instances table")
    artifacts_bucket: str = Field(description="Bucket for run artifacts")
    wheels_bucket: str = Field(description="Bucket of the wheelhouse")
    wheelhouse_prefix: str = Field(description="Prefix of the current wheelhouse in that bucket")
    file_system_id: str = Field(description="Id of the EFS file system")
    training_access_point_id: str = Field(description="EFS access point of training data")
    checkpoints_access_point_id: str = Field(description="EFS access point of checkpoints")
    training_parameter: str = Field(description="SSM parameter with the default hyperparameters, as JSON")
    image_parameter: str = Field(description="SSM parameter with the image id that workers boot from")
    image_pipeline_arn: str | None = Field(None, description="Image Builder pipeline of the Golden AMI, if enabled")
    worker_log_group: str = Field(description="CloudWatch log group of the workers")
    boot_log_group: str = Field(description="CloudWatch log group of the boot scripts")
    dashboard_name: str = Field(description="CloudWatch dashboard")
    vpc_id: str = Field(description="Id of the VPC")
    private_subnet_ids: list[str] = Field(description="Ids of the private subnets, one a zone")
    pools: dict[PoolName, PoolOutputs] = Field(description="The worker pools by name")
    nat: str | None = Field(None, description="network.nat of the configuration; None of an older stack, as below")
    cidr: str | None = Field(None, description="network.cidr of the configuration")
    parent_image: str | None = Field(None, description="golden_ami.parent_image: an SSM parameter or an image id")
    alarm_topic_arn: str | None = Field(None, description="SNS topic of the alarms")
    notices_topic_arn: str | None = Field(None, description="SNS topic of the notices of jobs; None of an older stack")
    budget_usd: float | None = Field(None, description="Monthly budget in US dollars; 0: no budget")
    job_defaults: JobDefaults = Field(default_factory=JobDefaults, description="Defaults of every job")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved copy of `pulumi stack output --json`; OSError, or ValueError as `parse`."""
        return cls.parse(json.loads(path.read_text()))

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Read what `pulumi stack output --json` printed; ValueError: an output is missing or of another shape."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"stack output {where}: {first['msg'].lower()}; is the stack up to date?") from None

    def places(self) -> list[JobQueuePlace]:
        """All job queues."""
        return [
            JobQueuePlace(pool, priority, url)
            for pool, out in self.pools.items()
            for priority, url in out.queue_urls.items()
        ]

    def environment_variables(self) -> dict[str, str]:
        """The variables from which our commands take what they are not given by flags."""
        return {
            names.ENV_REGION: self.region,
            names.ENV_DEFAULT_REGION: self.region,
            names.ENV_RECEIPTS_TABLE: self.receipts_table,
            names.ENV_JOBS_TABLE: self.jobs_table,
            names.ENV_INSTANCES_TABLE: self.instances_table,
            names.ENV_ARTIFACTS_BUCKET: self.artifacts_bucket,
        }
