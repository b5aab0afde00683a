"""What EC2 says of the pools' instance types, asked at preview: sizes are not written down here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.settings import PoolName, SettingsError, StackSettings

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


@dataclass(frozen=True)
class InstanceType:
    """One type, as DescribeInstanceTypes has it (Amazon EC2 API Reference, InstanceTypeInfo).

    Attributes:
        name: such as g6.xlarge.
        vcpus: vCPUs by default, as the quotas count them.
        architectures: that its processor runs.
        gpus: whole GPUs; 0 for a part of one as well.
        maker: who makes the GPUs; "" for none.
        gpu: their name.
        gpu_memory_mib: memory of ONE GPU, or of the part of one, in MiB.
        accelerated: it has FPGAs, or chips for inference, training or video.
    """

    name: str
    vcpus: int
    architectures: tuple[str, ...]
    gpus: int
    maker: str
    gpu: str
    gpu_memory_mib: int
    accelerated: bool


def look_up(names: Iterable[str]) -> dict[str, InstanceType]:
    """Those of `names` that the provider's region has.

    Two questions: a type that EC2 does not know is not found by a filter, but described it is an error, and an error of
    a provider function ends the run.
    """
    # Each once, in the order given: the same questions for the same settings.
    asked = aws.ec2.GetInstanceTypesFilterArgs(name="instance-type", values=list(dict.fromkeys(names)))
    return {name: _describe(name) for name in aws.ec2.get_instance_types(filters=[asked]).instance_types}


def check(settings: StackSettings, project: str) -> None:
    """Refuse what an enabled pool cannot run on; say which types have GPUs that would be idle.

    Raises:
        SettingsError: a line for each pool with types that the region does not have or that do not fit the pool.
    """
    known = look_up(name for pool in settings.pools.values() for name in pool.instance_types)
    problems = {pool: _problem(pool, chosen.instance_types, known) for pool, chosen in settings.pools.items()}
    if lines := [f"{project}:pools.{pool}.instance_types: {problem}" for pool, problem in problems.items() if problem]:
        raise SettingsError("\n".join(lines))
    for pool, chosen in settings.pools.items():
        for name in chosen.instance_types:
            if (gpus := known[name].gpus) > 1:
                pulumi.warn(
                    f"{project}:pools.{pool}.instance_types: {name} has {gpus} GPUs, a job uses one: {gpus - 1} are "
                    "paid for and idle; better: types with one GPU, and a higher max_instances"
                )


def _describe(name: str) -> InstanceType:
    found = aws.ec2.get_instance_type(instance_type=name)
    gpus = found.gpuses or []
    others = (found.fpgas, found.inference_accelerators, found.media_accelerators, found.neuron_devices)
    return InstanceType(
        name=name,
        vcpus=int(found.default_vcpus),
        architectures=tuple(found.supported_architectures),
        gpus=sum(int(gpu.count) for gpu in gpus),
        maker=gpus[0].manufacturer if gpus else "",
        gpu=gpus[0].name if gpus else "",
        gpu_memory_mib=int(gpus[0].memory_size) if gpus else 0,
        accelerated=any(others),
    )


def _problem(pool: PoolName, names: Sequence[str], known: dict[str, InstanceType]) -> str:
    reasons = {name: _why_not(pool, known.get(name)) for name in names}
    if wrong := [f"{name!r} {reason}" for name, reason in reasons.items() if reason]:
        return f"{'; '.join(wrong)}; allowed: {_ALLOWED[pool]}"
    return _several_sizes([known[name] for name in names]) if pool == "gpu" else ""


def _several_sizes(types: Sequence[InstanceType]) -> str:
    """A job that fits one instance must fit all."""
    sizes = sorted({item.gpu_memory_mib for item in types})
    if sizes[-1] <= sizes[0] * _ONE_SIZE:
        return ""
    parts = (
        f"{size / 1024:.0f} GiB: {' '.join(item.name for item in types if item.gpu_memory_mib == size)}"
        for size in sizes
    )
    return f"GPUs of several sizes ({'; '.join(parts)}); allowed: types whose GPUs have one memory size"


def _why_not(pool: PoolName, item: InstanceType | None) -> str:
    if item is None:
        return "is not an instance type that EC2 has in this region"
    if ARCHITECTURE not in item.architectures:
        return f"is {' and '.join(item.architectures)}, and the parent image is {ARCHITECTURE}"
    if pool == "cpu":
        idle = "a GPU" if item.maker else "accelerators" if item.accelerated else ""
        return f"has {idle}, which a cpu job would leave idle" if idle else ""
    if not item.maker:
        return "has no GPU"
    if item.maker.upper() != "NVIDIA" or item.gpu in OLD_GPUS:
        return f"has a GPU ({item.maker} {item.gpu}) that the parent image has no driver for"
    return "" if item.gpus else f"has a part of a GPU only, {item.gpu_memory_mib / 1024:.0f} GiB"
