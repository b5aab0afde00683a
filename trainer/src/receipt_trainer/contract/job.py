"""A training job as asked for: the YAML of a job file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from receipt_trainer.contract import names


class JobSpec(BaseModel):
    """What is asked. The two config parts are validated by `receipt_trainer.config`."""

    model_config = ConfigDict(extra="forbid")

    job_name: str = Field(description="Letters, digits, '.', '_' and '-'; at most 64; names the output folder")
    description: str = Field("", description="Free text for people")
    tags: dict[str, str] = Field(default_factory=dict, description="Free key/value pairs for filters")
    model: str = Field(names.DEFAULT_MODEL, description="Hub name, directory, installed package of weights, or 'tiny'")
    training_config: dict[str, Any] = Field(default_factory=dict)
    data_config: dict[str, Any] = Field(default_factory=dict)
    priority: Literal["high", "normal"] = "normal"
    resources: dict[str, Any] = Field(default_factory=dict, description="Pool and size that the job needs")

    @field_validator("job_name")
    @classmethod
    def _valid_name(cls, value: str) -> str:
        if not names.is_job_name(value):
            raise ValueError("must be 1 to 64 of A-Z a-z 0-9 . _ - and not '.' or '..'")
        return value
