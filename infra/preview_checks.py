"""Checks before the first resource: instance types, an edit that would replace data, old parent images."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pulumi
import pulumi_aws as aws

import receipt_trainer
from infra.settings import SettingsError, StackSettings
from receipt_trainer.contract.outputs import PoolName

InstanceType = aws.ec2.GetInstanceTypeResult
"""EC2's description of a type: sizes are not written down here."""
ARCHITECTURE: Final = "x86_64"
"""Of the parent image."""
OLD_GPUS: Final = ("K80", "M60", "V100")
"""NVIDIA GPUs before Turing, which the open kernel driver of the parent image does not know (AWS Deep Learning AMIs
Developer Guide, Important NVIDIA driver changes to DLAMIs)."""
_ALLOWED: Final[dict[PoolName, str]] = {
    "gpu": "x86_64 types of this region with whole NVIDIA GPUs from the T4 on, such as g6.xlarge",
    "cpu": "x86_64 types of this region without GPUs and the like, such as c7i.xlarge",
}
_ONE_SIZE: Final = 1.1
"""EC2 has given the A10G's 24 GB as 24,576 MiB and as 22,888, the L4's as 22,888; other sizes are a quarter apart."""


def refuse_another_trainer(repository: Path) -> None:
    """Stop if Python finds another trainer than this repository's: workers get the wheel that is built from here.

    Yesterday's copy in the virtual environment would render yesterday's `worker.env` for today's worker.

    Raises RunError: says which one it finds, and how to put it right.
    """
    found, own = Path(receipt_trainer.__file__).resolve(), (repository / "trainer" / "src").resolve()
    if not found.is_relative_to(own):
        raise pulumi.RunError(
            f"receipt_trainer: Python finds the copy in {found.parent}, and workers would get the one in {own}; run "
            "pulumi install (elsewhere: pip install --editable ./trainer)"
        )


def check_instance_types(settings: StackSettings, project: str) -> None:
    """Refuse what an enabled pool cannot run on; say which types have GPUs that would be idle.

    Raises SettingsError: a line for each pool with types that the region does not have or that do not fit the pool.
    """
    wanted = [name for pool in settings.enabled_pools.values() for name in pool.instance_types]
    # Two questions: a type that EC2 does not know is not found by a filter, but described it is an error, and an error
    # of a provider function ends the run. Each once, in the order given: the same questions for the same settings.
    asked = aws.ec2.GetInstanceTypesFilterArgs(name="instance-type", values=list(dict.fromkeys(wanted)))
    found = aws.ec2.get_instance_types(filters=[asked]).instance_types
    known = {name: aws.ec2.get_instance_type(instance_type=name) for name in found}
    lines, idle = [], []
    for pool, chosen in settings.enabled_pools.items():
        key = f"{project}:pools.{pool}.instance_types"
        reasons = {name: _why_not(pool, known.get(name)) for name in chosen.instance_types}
        if wrong := [f"{name!r} {reason}" for name, reason in reasons.items() if reason]:
            lines.append(f"{key}: {'; '.join(wrong)}; allowed: {_ALLOWED[pool]}")
        elif pool == "gpu" and (problem := _several_sizes({name: known[name] for name in reasons})):
            lines.append(f"{key}: {problem}")
        else:
            idle += [(key, name, gpus - 1) for name in reasons if (gpus := _num_gpus(known[name])) > 1]
    if lines:
        raise SettingsError("\n".join(lines))
    for key, name, others in idle:
        pulumi.warn(
            f"{key}: {name} has {others + 1} GPUs, a job uses one: {others} are paid for and idle; better: types with "
            "one GPU, and a higher max_instances"
        )


def _num_gpus(item: InstanceType) -> int:
    """Whole GPUs; 0 for a part of one as well."""
    return sum(int(gpu.count) for gpu in item.gpuses or [])


def _several_sizes(types: Mapping[str, InstanceType]) -> str:
    """What is wrong if the GPUs of types have several sizes: a job that fits one instance must fit all."""
    memory_mib = {name: int(item.gpuses[0].memory_size) for name, item in types.items()}
    sizes = sorted({*memory_mib.values()})
    if sizes[-1] <= sizes[0] * _ONE_SIZE:
        return ""
    parts = (
        f"{size / 1024:.0f} GiB: {' '.join(name for name, own in memory_mib.items() if own == size)}" for size in sizes
    )
    return f"GPUs of several sizes ({'; '.join(parts)}); allowed: types whose GPUs have one memory size"


def _why_not(pool: PoolName, item: InstanceType | None) -> str:
    if item is None:
        return "is not an instance type that EC2 has in this region"
    if ARCHITECTURE not in item.supported_architectures:
        return f"is {' and '.join(item.supported_architectures)}, and the parent image is {ARCHITECTURE}"
    if pool == "cpu":
        others = (item.fpgas, item.inference_accelerators, item.media_accelerators, item.neuron_devices)
        idle = "a GPU" if item.gpuses else "accelerators" if any(others) else ""
        return f"has {idle}, which a cpu job would leave idle" if idle else ""
    if not item.gpuses:
        return "has no GPU"
    gpu = item.gpuses[0]
    if gpu.manufacturer.upper() != "NVIDIA" or gpu.name in OLD_GPUS:
        return f"has a GPU ({gpu.manufacturer} {gpu.name}) that the parent image has no driver for"
    return "" if _num_gpus(item) else f"has a part of a GPU only, {int(gpu.memory_size) / 1024:.0f} GiB"


async def read_outputs() -> dict[str, Any]:
    """The outputs that the last update of this very stack left; empty before its first one.

    The engine reads the stack's own state for it, in previews too. A stack of a backend without organisations has one
    called `organization`, which is what `get_organization` says there (Pulumi, "Stack references").
    """
    full_name = "/".join((pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack()))
    last = await pulumi.StackReference("last-update", stack_name=full_name).outputs.future()
    return dict(last or {})


def refuse_replaced_data(last: Mapping[str, Any], settings: StackSettings, region: str, project: str) -> None:
    """Stop before anything is registered if the edit of a standing stack would replace what holds data.

    `last` are the outputs of its last update; empty: there is nothing to lose.

    Raises SettingsError: `environment` or `aws:region` is another one than in `last`, and `replace_data` is not true;
    or `network.cidr` is: AWS refuses the file system's mount targets in another VPC, when that VPC stands already.
    """
    edits = {f"{project}:environment": ("environment", settings.environment), "aws:region": ("region", region)}
    lines = [
        f"{key}: '{now}' would replace what holds data in this stack, which stands with '{last[output]}', by something "
        f"empty; make a second stack instead (pulumi stack init NAME); allowed: '{last[output]}', or any with "
        f"{project}:replace_data true"
        for key, (output, now) in edits.items()
        if last.get(output) not in (None, now)
    ]
    if lines and settings.replace_data:
        pulumi.warn(f"{project}:replace_data is true: this edit replaces what holds data by something empty")
        return
    if last.get("cidr") not in (None, settings.network.cidr):
        lines.append(
            f"{project}:network.cidr: '{settings.network.cidr}' would stop half way: mount targets keep the file "
            f"system in its VPC of '{last['cidr']}'; destroy the stack first; allowed: '{last['cidr']}'"
        )
    if not lines:
        return
    # The SDK registers the outputs of a program that stops, too: none, and the next update would know nothing of this.
    for name, value in last.items():
        pulumi.export(name, value)
    raise SettingsError("\n".join(lines))


MAX_AGE_DAYS: Final = 60
"""A line of the Deep Learning AMI that is patched is built anew twice a month."""


def warn_of_parent(parent_image: str) -> None:
    """Say if the image of an SSM parameter grows old; one that is named by its id is old by choice."""
    if parent_image.startswith("ami-"):
        return
    image_id = aws.ssm.get_parameter(name=parent_image).value
    # Of any owner, also if it is deprecated, as AWS's own are after a while.
    filters = [aws.ec2.GetAmiFilterArgs(name="image-id", values=[image_id])]
    created = aws.ec2.get_ami(filters=filters, include_deprecated=True).creation_date
    if (days := (datetime.now(UTC) - datetime.fromisoformat(created)).days) > MAX_AGE_DAYS:
        pulumi.warn(
            f"golden_ami.parent_image: {parent_image}: its image {image_id} was made {days} days ago: that line is "
            "patched no more, and no schedule will bake another; choose a newer one, as docs/configuration.md says"
        )


def warn_of_key(region: str) -> None:
    """Say if volumes are encrypted with a key of the account's own, which AWS's services may not use unasked.

    Source: EC2 Auto Scaling User Guide, "Required AWS KMS key policy for use with encrypted volumes".
    """
    key = aws.ebs.get_default_kms_key().key_arn
    # What was set back to AWS's key may be answered with that key's own ARN.
    if not key.endswith("alias/aws/ebs") and aws.kms.get_key(key_id=key).key_manager != "AWS":
        pulumi.warn(
            f"volumes: the default EBS key in {region} is {key}, a customer managed one: launches end in "
            "Client.InternalError and bakes fail unless its policy admits them; either "
            f"`aws ec2 reset-ebs-default-kms-key-id --region {region}`, or admit them, as docs/operations.md says"
        )
