"""The worker's settings from the stack: `/etc/receipt-trainer/worker.env`, then its environment.

The file is in systemd's EnvironmentFile syntax, as an instance's systemd 252 reads it. Source: systemd.exec(5),
"EnvironmentFile="; where the page is silent, the reader of systemd 252 (Amazon Linux 2023).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field

from receipt_trainer.contract import names

_ESCAPED: Final = '"\\`$'
"""Characters that a backslash escapes inside double quotes; before others the backslash stays."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def why_undeliverable(value: str) -> str | None:
    """Why systemd might not hand `value` on unchanged, or None.

    Releases differ on control characters; what Unicode says is no character makes all of them ignore the whole file.
    """
    control = _CONTROL.search(value)
    if control:
        return f"the control character U+{ord(control[0]):04X}"
    bad = next(filter(_is_no_character, value), None)
    return f"U+{ord(bad):04X}, which is not a character" if bad else None


def _is_no_character(char: str) -> bool:
    point = ord(char)
    return 0xD800 <= point <= 0xDFFF or 0xFDD0 <= point <= 0xFDEF or point & 0xFFFE == 0xFFFE


def write(variables: Mapping[str, str]) -> str:
    """The text of a file with `variables`, in their order; every value in double quotes.

    Raises:
        ValueError: an invalid name, or a value that systemd would not deliver unchanged; begins with the name.
    """
    lines = []
    for name, value in variables.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r}: not the name of a variable; allowed: letters, digits and _")
        reason = why_undeliverable(value)
        if reason:
            raise ValueError(f"{name}: has {reason}; allowed: text of any language, tabs and newlines")
        quoted = "".join(f"\\{char}" if char in _ESCAPED else char for char in value)
        lines.append(f'{name}="{quoted}"\n')
    return "".join(lines)


class WorkerEnv(BaseModel):
    """Values of `/etc/receipt-trainer/worker.env`; unknown variables are refused when written, ignored when read."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    project: str = Field(names.PROJECT, alias=names.ENV_PROJECT, description="Name of the project")
    environment: str | None = Field(None, alias=names.ENV_ENVIRONMENT, description="Environment, such as dev")
    pool: str | None = Field(None, alias=names.ENV_POOL, description="Pool of this worker, gpu or cpu")
    region: str | None = Field(None, alias=names.ENV_REGION, description="AWS region")
    receipts_table: str | None = Field(None, alias=names.ENV_RECEIPTS_TABLE, description="Name of the receipts table")
    jobs_table: str | None = Field(None, alias=names.ENV_JOBS_TABLE, description="Name of the jobs table")
    instances_table: str | None = Field(None, alias=names.ENV_INSTANCES_TABLE, description="The instances table")
    artifacts_bucket: str | None = Field(None, alias=names.ENV_ARTIFACTS_BUCKET, description="Bucket for run artifacts")
    queue_url_high: str | None = Field(None, alias=names.ENV_QUEUE_URL_HIGH, description="URL of the first job queue")
    queue_url_normal: str | None = Field(None, alias=names.ENV_QUEUE_URL_NORMAL, description="URL of the second queue")
    auto_scaling_group: str | None = Field(None, alias=names.ENV_AUTO_SCALING_GROUP, description="Auto Scaling group")
    lifecycle_hook: str | None = Field(None, alias=names.ENV_LIFECYCLE_HOOK, description="The group's termination hook")
    checkpoints_dir: str | None = Field(None, alias=names.ENV_CHECKPOINTS_DIR, description="Where checkpoints live")
    training_dir: str | None = Field(None, alias=names.ENV_TRAINING_DIR, description="Where training data lives")
    hf_home: str | None = Field(None, alias=names.ENV_HF_HOME, description="Cache of pretrained models")
    training_parameter: str | None = Field(
        None, alias=names.ENV_TRAINING_PARAMETER, description="SSM parameter with the default hyperparameters, as JSON"
    )
    worker_log_group: str | None = Field(None, alias=names.ENV_WORKER_LOG_GROUP, description="The workers' log group")
    checkpoints_days: str | None = Field(
        None, alias=names.ENV_CHECKPOINTS_DAYS, description="Days that checkpoints of FAILED and CANCELLED jobs stay"
    )
    rows_days: str | None = Field(None, alias=names.ENV_ROWS_DAYS, description="Days that metrics and log lines stay")
    aws_cli: str = Field(names.DEFAULT_AWS_CLI, alias=names.ENV_AWS_CLI, description="Absolute path of the AWS CLI")

    @classmethod
    def build(cls, **values: str | None) -> Self:
        """Made by field name, for writing.

        Raises:
            ValueError: an unknown field, or an empty value, which a reader would take for unset; names it.
        """
        unknown = sorted(values.keys() - cls.model_fields.keys())
        if unknown:
            raise ValueError(f"{unknown[0]}: no such field of the worker's environment; there are: {_listed(cls)}")
        empty = next((name for name, value in values.items() if value == ""), None)
        if empty:
            raise ValueError(f"{empty}: empty; leave it out instead")
        return cls.model_validate(values)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read from an environment; an empty value counts as unset."""
        return cls.model_validate({key: value for key, value in environ.items() if value})

    @property
    def num_checkpoints_days(self) -> int:
        """`checkpoints_days` as a number, or the default; ValueError: it is none."""
        return _days(names.ENV_CHECKPOINTS_DAYS, self.checkpoints_days, names.DEFAULT_CHECKPOINTS_DAYS)

    @property
    def num_rows_days(self) -> int:
        """`rows_days` as a number, or the default; ValueError: it is none."""
        return _days(names.ENV_ROWS_DAYS, self.rows_days, names.DEFAULT_ROWS_DAYS)

    def to_env_file(self) -> str:
        """The text of an EnvironmentFile with what is set.

        Raises:
            ValueError: systemd would not deliver a value unchanged; begins with the variable's name.
        """
        values = self.model_dump(by_alias=True, exclude_none=True)
        if self.region is not None:
            values[names.ENV_DEFAULT_REGION] = self.region  # boto3 reads no other
        empty = next((name for name, value in values.items() if not value), None)
        if empty:
            raise ValueError(f"{empty}: empty; leave it out instead")
        return write(values)


def _listed(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)


def _days(variable: str, text: str | None, default: int) -> int:
    if text is None:
        return default
    days = int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else 0
    if not 1 <= days <= 3650:
        raise ValueError(f"{variable}={text}: must be a whole number of days, 1 to 3650")
    return days
