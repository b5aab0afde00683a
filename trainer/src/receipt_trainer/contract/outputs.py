"""What the stack exports and every command on a laptop reads."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class StackOutputs(BaseModel):
    """Exported names; unknown outputs of a newer stack are ignored when read."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    region: str = Field(description="AWS region of the stack")
    receipts_table: str = Field(description="Name of the receipts table")
    jobs_table: str = Field(description="Name of the jobs table")
    instances_table: str = Field(description="Name of the instances table")
    artifacts_bucket: str = Field(description="Bucket for run artifacts")
