"""Capabilities of the machine, and those that a run uses."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final, Literal

import torch

from receipt_trainer.config.layoutlm import TrainingConfig
from receipt_trainer.errors import UserError

Precision = Literal["fp32", "bf16", "fp16"]
BATCH_TOKENS: Final[int] = TrainingConfig.model_fields["batch_tokens"].default


@dataclass(frozen=True, slots=True)
class Machine:
    """Device and arithmetic of a run."""

    cuda: bool
    precision: Precision


def use_cuda(config: TrainingConfig) -> bool:
    """Whether to train on a GPU; UserError: device cuda is asked for and PyTorch sees none."""
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise UserError("device: cuda is asked for, but PyTorch sees no GPU; use --device cpu or auto")
    return available and config.device != "cpu"


def precision(config: TrainingConfig, cuda: bool) -> Precision:
    """The arithmetic of a run; UserError: fp16 on a CPU, where it only loses."""
    wanted = ("fp16" if config.fp16 else "fp32") if config.fp16 is not None else config.precision
    if wanted == "fp16" and not cuda:
        raise UserError("precision fp16 needs a GPU; on a CPU use bf16, fp32 or auto")
    if wanted in ("fp32", "bf16", "fp16"):
        return wanted
    if cuda:
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if _cpu_has_bf16() else "fp32"


def _cpu_has_bf16() -> bool:
    """Native bf16 products (AVX512-BF16 or AMX); emulated ones are slower than fp32."""
    capabilities: Mapping[str, Any] = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def without_cudnn_attention() -> Iterator[None]:
    """Keep PyTorch from cuDNN's attention, which compiles a plan for every new shape: packed batches have new ones
    in most steps. A flag of the process, set once for a training or a prediction: around each of the many calls it
    would cost what a kernel costs. A CPU does not look at it.
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def choose(config: TrainingConfig) -> Machine:
    """Device and arithmetic of a run; raises as `use_cuda` and `precision`."""
    cuda = use_cuda(config)
    return Machine(cuda, precision(config, cuda))


def batch_tokens(machine: Machine, memory_bytes: int, width: int, tokens_an_epoch: int) -> int:
    """Tokens of a packed batch on a GPU: more are faster, up to a half of the card's memory.

    But an epoch keeps 400 steps at least, about what the recipe was measured with on a CPU in batches of 700: few
    receipts train as they do there.

    Args:
        memory_bytes: of the card.
        width: the model's hidden size times its layers; a token keeps about 54 bytes of each in bf16 (measured with
            MiniLM's shape, docs/lab-notes.md), in fp32 twice that.
        tokens_an_epoch: that this process trains on.
    """
    by_memory = memory_bytes // 2 // (60 * width * (2 if machine.precision == "fp32" else 1))
    return max(BATCH_TOKENS, min(by_memory, tokens_an_epoch // 400, 65536))


def describe(machine: Machine) -> dict[str, Any]:
    """The machine, for run.json."""
    about: dict[str, Any] = {
        "device": "cuda" if machine.cuda else "cpu",
        "precision": machine.precision,
        "machine": platform.machine(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if machine.cuda:
        about |= {"gpu": torch.cuda.get_device_name(), "gpus": torch.cuda.device_count()}
    return about


def versions() -> dict[str, str]:
    """Versions of what decides about a result."""
    names = ("receipt-trainer", "torch", "transformers", "tokenizers", "accelerate", "numpy", "pyarrow", "seqeval")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
