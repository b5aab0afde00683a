"""Instance types that a pool may launch.

Sizes as in Amazon EC2 Instance Types. Prices serve the arithmetic of the documentation only, nothing is bought by them:
Linux on demand in us-east-1 as far as known here; Amazon EC2 On-Demand Pricing has today's. A new type is one more row.
Graviton types are left out on purpose: the parent image is x86_64.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class InstanceType:
    """One row of the catalogue. `gpu_memory_gib` is of ONE GPU; `usd_per_hour` is on demand in us-east-1."""

    name: str
    vcpus: int
    memory_gib: float
    gpus: int = 0
    gpu: str = ""
    gpu_memory_gib: int = 0
    usd_per_hour: float | None = None
    architecture: str = "x86_64"


_GPUS: Final = {
    "g4dn": ("NVIDIA T4", 16),
    "g5": ("NVIDIA A10G", 24),
    "g6": ("NVIDIA L4", 24),
    "gr6": ("NVIDIA L4", 24),
    "g6e": ("NVIDIA L40S", 48),
    "p4d": ("NVIDIA A100", 40),
    "p4de": ("NVIDIA A100", 80),
    "p5": ("NVIDIA H100", 80),
    "p5e": ("NVIDIA H200", 141),
    "p5en": ("NVIDIA H200", 141),
    "p6-b200": ("NVIDIA B200", 180),
}
"""Families of the x86_64 Deep Learning AMI (its release notes, Supported EC2 instances), without the fractions of a GPU
of g6f and gr6f, whose 3 to 12 GiB are too little to count on."""

_GPU_SIZES: Final = """
g4dn.xlarge 4 16 1 0.526      g4dn.2xlarge 8 32 1 0.752     g4dn.4xlarge 16 64 1 1.204    g4dn.8xlarge 32 128 1 2.176
g4dn.12xlarge 48 192 4 3.912  g4dn.16xlarge 64 256 1 4.352
g5.xlarge 4 16 1 1.006        g5.2xlarge 8 32 1 1.212       g5.4xlarge 16 64 1 1.624      g5.8xlarge 32 128 1 2.448
g5.12xlarge 48 192 4 5.672    g5.16xlarge 64 256 1 4.096    g5.24xlarge 96 384 4 8.144    g5.48xlarge 192 768 8 16.288
g6.xlarge 4 16 1 0.8048       g6.2xlarge 8 32 1 0.9776      g6.4xlarge 16 64 1 1.3232     g6.8xlarge 32 128 1 2.0144
g6.12xlarge 48 192 4 4.6016   g6.16xlarge 64 256 1 3.3968   g6.24xlarge 96 384 4 6.6752   g6.48xlarge 192 768 8 13.3504
gr6.4xlarge 16 128 1 1.5392   gr6.8xlarge 32 256 1 2.4464
g6e.xlarge 4 32 1 1.861       g6e.2xlarge 8 64 1 2.24208    g6e.4xlarge 16 128 1 3.00424  g6e.8xlarge 32 256 1 4.52856
g6e.12xlarge 48 384 4 10.49264    g6e.16xlarge 64 512 1 7.57719
g6e.24xlarge 96 768 4 15.06559    g6e.48xlarge 192 1536 8 30.13118
p4d.24xlarge 96 1152 8 -      p4de.24xlarge 96 1152 8 -     p5.4xlarge 16 256 1 -         p5.48xlarge 192 2048 8 -
p5e.48xlarge 192 2048 8 -     p5en.48xlarge 192 2048 8 -    p6-b200.48xlarge 192 2048 8 -
"""
"""Name, vCPUs, GiB, GPUs, USD an hour (- where it is not known for certain)."""

_CPU_FAMILIES: Final = {
    "c6i": (2, 0.0425, "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge"),
    "c6a": (2, 0.03825, "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge 48xlarge"),
    "c7i": (2, 0.044625, "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge"),
    "c7a": (2, 0.05132, "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge 48xlarge"),
    "m6i": (4, 0.048, "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge"),
    "m6a": (4, 0.0432, "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge 48xlarge"),
    "m7i": (4, 0.0504, "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge"),
    "m7a": (4, 0.05796, "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge 48xlarge"),
    "r6i": (8, 0.063, "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge"),
    "r7i": (8, 0.06615, "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge"),
}
"""GiB a vCPU, USD a vCPU and hour (the same for every size), sizes."""

_GRAVITON: Final = re.compile(r"(?:a1|[a-z]+\d+(?:[a-z]*g[a-z]*|e-gb\d+))\.[a-z0-9-]+")
"""The letter g behind the generation (EC2, Instance type naming conventions), and the Grace hosts of p6e."""


def _gpu_types() -> Iterator[InstanceType]:
    fields = iter(_GPU_SIZES.split())
    for name, vcpus, memory, gpus, price in zip(*[fields] * 5, strict=True):
        gpu, gpu_memory_gib = _GPUS[name.split(".")[0]]
        usd = None if price == "-" else float(price)
        yield InstanceType(name, int(vcpus), float(memory), int(gpus), gpu, gpu_memory_gib, usd)


def _cpu_types() -> Iterator[InstanceType]:
    for family, (gib, usd, sizes) in _CPU_FAMILIES.items():
        for size in sizes.split():
            vcpus = {"large": 2, "xlarge": 4}.get(size) or 4 * int(size.removesuffix("xlarge"))
            yield InstanceType(f"{family}.{size}", vcpus, float(vcpus * gib), usd_per_hour=round(vcpus * usd, 5))


CATALOGUE: Final = {item.name: item for item in (*_gpu_types(), *_cpu_types())}
"""Every known type by name."""


def is_arm64(name: str) -> bool:
    """Whether a type, known or not, has a Graviton or Grace processor, by AWS's naming convention."""
    return _GRAVITON.fullmatch(name) is not None


def families(items: Iterable[InstanceType]) -> list[str]:
    """The families of `items`, each once, in their order."""
    return list(dict.fromkeys(item.name.split(".")[0] for item in items))
