"""User data of a worker: static scripts of userdata/ and the values of one stack, as a pure function.

No value ever meets a template. Values travel as two files: boot.env, assignments in single quotes, and worker.env,
systemd's EnvironmentFile; both as here-documents with a quoted end line, which the shell hands on untouched.
"""

from __future__ import annotations

import base64
import bz2
import json
import shlex
from typing import Annotated, Any, Final

import pulumi
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.context import USERDATA
from infra.roles import StackParts
from receipt_trainer.contract import names
from receipt_trainer.contract.env import WorkerEnv
from receipt_trainer.contract.outputs import PoolName

MAX_USER_DATA_BYTES: Final = 16_384
"""EC2's limit, before base64 (Amazon EC2 user guide, "Run commands on your EC2 instance at launch using user data")."""

LIFECYCLE_HOOK: Final = "checkpoint"
"""Of every pool's group; an instance that is taken away completes it after its last checkpoint."""

SCRIPTS: Final = (
    "boot_common.sh",
    "boot_failed.sh",
    "cloudwatch_agent.json",
    "install_trainer.sh",
    "logrotate.conf",
    "logrotate_timer.conf",
    "receipt-worker-failed.service",
    "receipt-worker.service",
    "worker_boot.sh",
)
_FILES_HERE: Final = "# FILES\n"

Text = Annotated[str, Field(min_length=1)]
ResourceId = Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$")]
"""It becomes a word of /etc/fstab and of mount's options, which know no quotes."""
Seconds = Annotated[int, Field(ge=0, le=7200)]


class BootEnv(BaseModel):
    """Values for the boot scripts only; each field is a variable of theirs, in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: Text = Field(description="AWS region (the scripts' AWS_REGION)")
    environment: Text = Field(description="Environment, such as dev; a dimension of the metric of failed boots")
    pool: PoolName = Field(description="Pool of the instance")
    wheels_bucket: Text = Field(description="Bucket of the wheelhouse")
    wheelhouse_prefix: Text = Field(description="Prefix of the wheelhouse in that bucket, without a slash at the end")
    wheelhouse_hash: Text = Field(description="Content hash of the wheelhouse; an image that has it installs nothing")
    file_system_id: ResourceId = Field(description="EFS file system")
    checkpoints_access_point_id: ResourceId = Field(description="EFS access point of checkpoints")
    training_access_point_id: ResourceId = Field(description="EFS access point of training data")
    boot_log_group: Text = Field(description="CloudWatch log group of the boot")
    worker_log_group: Text = Field(description="CloudWatch log group of the worker")
    auto_scaling_group: Text = Field(description="Auto Scaling group of the pool")
    instances_table: Text = Field(description="Name of the instances table")
    install_deadline_s: Seconds = Field(300, description="Seconds in which packages and wheels must begin to arrive")
    mount_deadline_s: Seconds = Field(300, description="Seconds in which a file system must be mounted")
    imds_deadline_s: Seconds = Field(60, description="Seconds in which the instance metadata service must answer")
    retry_first_s: Seconds = Field(1, description="Seconds before the second try; doubled for each next, up to 30")
    call_timeout_s: Seconds = Field(45, description="Seconds that one try, or one call of the AWS CLI, may take")
    settle_s: Seconds = Field(90, description="Seconds that the worker must stay up for the boot to count as good")
    log_flush_s: Seconds = Field(
        8, description="Seconds that a failed boot leaves the CloudWatch agent to send its logs"
    )
    boot_deadline_s: Seconds = Field(1800, description="Seconds in which the entire boot must be done")
    max_boot_failures: int = Field(
        3, ge=1, description="Failed boots of a pool in a row after which it launches no more"
    )

    @classmethod
    def build(cls, **values: Any) -> BootEnv:
        """The same as the constructor, with a message of one line.

        Raises ValueError: a value that is missing, unknown or not allowed; begins with the field's name.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None


def render_user_data(boot: BootEnv, worker: WorkerEnv) -> str:
    """The text that cloud-init runs on a worker's first boot.

    Raises ValueError: a value that bash or systemd cannot hold, or too much text; begins with what it is about.
    """
    scripts = {name: (USERDATA / name).read_text(encoding="utf-8") for name in SCRIPTS}
    text = unpacking(scripts, {"boot.env": boot_env_file(boot), "worker.env": worker.to_env_file()})
    size = len(text.encode())
    if size > MAX_USER_DATA_BYTES:
        raise ValueError(
            f"user data: {size:,} bytes, EC2 allows {MAX_USER_DATA_BYTES:,}; shorten names or the scripts in userdata/"
        )
    return text


def unpacking(packed: dict[str, str], plain: dict[str, str]) -> str:
    """A script that writes the files to /run/receipt-trainer and runs worker_boot.sh there.

    Args:
        packed: static files by name, compressed: together they are larger than user data may be. bzip2, because it
            has one implementation: another laptop must not make another launch template of the same scripts.
        plain: files with values, by name; each ends with a newline.
    """
    unpack = (USERDATA / "unpack.sh").read_text(encoding="utf-8")
    before, after = unpack.split(_FILES_HERE)
    blob = base64.encodebytes(bz2.compress(json.dumps(packed, sort_keys=True).encode())).decode()
    return before + _here("put_packed", blob) + "".join(_here(f"put {name}", plain[name]) for name in plain) + after


def boot_env_file(boot: BootEnv) -> str:
    """The one block of assignments that the boot scripts source.

    Raises ValueError: a value with what a shell variable cannot hold; begins with the field's name.
    """
    lines = []
    for name, value in boot.model_dump().items():
        text, variable = str(value), "AWS_REGION" if name == "region" else name.upper()
        if "\x00" in text:
            raise ValueError(f"{name}: has a NUL character, which no shell variable can hold")
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise ValueError(f"{name}: has half of a surrogate pair, which is not text")
        lines.append(f"{variable}={shlex.quote(text)}\n")
    return "".join(lines)


def _here(command: str, text: str) -> str:
    """`command` with `text` as its input, by an end line that is not in the text."""
    end = "END"
    lines = set(text.split("\n"))
    while end in lines:
        end += "_"
    return f"{command} <<'{end}'\n{text}{end}\n"


def user_data(args: StackParts, pool: PoolName) -> pulumi.Output[str]:
    """User data of the workers of one pool.

    Raises pulumi.RunError: a value that does not survive bash or systemd, or too much text (when values are known).
    """
    context, files, urls, retention = args.context, args.files, args.queues.urls[pool], args.settings.retention
    shared: dict[str, pulumi.Input[str]] = {
        "region": context.region,
        "environment": context.environment,
        "pool": pool,
        "auto_scaling_group": context.name("workers", pool),
        "instances_table": args.tables.instances.name,
        "worker_log_group": args.logs.worker.name,
    }
    boot = pulumi.Output.all(
        **shared,
        wheels_bucket=args.buckets.wheels.id,
        wheelhouse_prefix=args.wheelhouse.prefix,
        wheelhouse_hash=args.wheelhouse.content_hash,
        file_system_id=files.file_system_id,
        checkpoints_access_point_id=files.checkpoints_access_point_id,
        training_access_point_id=files.training_access_point_id,
        boot_log_group=args.logs.boot.name,
    )
    worker = pulumi.Output.all(
        **shared,
        project=context.project,
        receipts_table=args.tables.receipts.name,
        jobs_table=args.tables.jobs.name,
        artifacts_bucket=args.buckets.artifacts.id,
        training_parameter=args.defaults.parameter_name,
        checkpoints_days=str(retention.checkpoints_days),
        rows_days=str(retention.rows_days),
        queue_url_high=urls["high"],
        queue_url_normal=urls["normal"],
        lifecycle_hook=LIFECYCLE_HOOK,
        checkpoints_dir=names.CHECKPOINTS_MOUNT,
        training_dir=names.TRAINING_MOUNT,
        hf_home=names.HF_CACHE_DIR,
        aws_cli=names.DEFAULT_AWS_CLI,
    )
    return pulumi.Output.all(boot, worker).apply(_render)


def _render(values: list[dict[str, Any]]) -> str:
    try:
        return render_user_data(BootEnv.build(**values[0]), WorkerEnv.build(**values[1]))
    except ValueError as error:
        raise pulumi.RunError(f"user data: {error}") from error
