"""What a worker is told by the stack, through its environment."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from receipt_trainer.contract import names


class WorkerEnv(BaseModel):
    """Values of `/etc/receipt-trainer/worker.env`; unknown variables are ignored when read."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    receipts_table: str | None = Field(None, alias=names.ENV_RECEIPTS_TABLE, description="Name of the receipts table")
    jobs_table: str | None = Field(None, alias=names.ENV_JOBS_TABLE, description="Name of the jobs table")
    instances_table: str | None = Field(
        None, alias=names.ENV_INSTANCES_TABLE, description="Name of the instances table"
    )
    artifacts_bucket: str | None = Field(None, alias=names.ENV_ARTIFACTS_BUCKET, description="Bucket for run artifacts")
    aws_cli: str = Field(names.DEFAULT_AWS_CLI, alias=names.ENV_AWS_CLI, description="Absolute path of the AWS CLI")

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> WorkerEnv:
        """Read from an environment; an empty value counts as unset."""
        return cls.model_validate({key: value for key, value in environ.items() if value})
