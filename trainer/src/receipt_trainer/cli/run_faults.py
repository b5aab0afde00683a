"""Whose fault ended an attempt: the job's, the machine's, or that of a neighbour or a right."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import Final

from receipt_trainer.errors import UserError, WorldError

_BROKEN: Final = frozenset(
    {errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EFBIG}
)
"""What a full, broken or lost disk says, or a missing device."""

_WORDS: Final = re.compile(
    r"CUDA error(?!: device-side assert)|CUDA driver|CUDNN_STATUS|CUBLAS_STATUS|NCCL error"
    r"|PytorchStreamWriter failed|\(os error (5|27|28|30|116|122)\)"
)
"""The same from PyTorch's and safetensors' own code, which raise no OSError."""


class MachineError(WorldError):
    """The machine cannot do what it is there for."""


def require_gpu() -> None:
    """On a machine that was hired for its GPU, training on its CPU would cost days.

    Raises:
        MachineError: PyTorch sees no GPU.
    """
    import torch

    if not torch.cuda.is_available():
        raise MachineError("PyTorch sees no GPU on this machine, which is there for its GPU")


def is_machines(error: BaseException) -> bool:
    """Whether the machine seems to have failed: another one may well succeed, this one hardly."""
    from receipt_trainer.cli.run_folder import FolderError

    return any(
        isinstance(fault, MachineError | FolderError)
        or (isinstance(fault, OSError) and fault.errno in _BROKEN)
        or (not isinstance(fault, UserError | WorldError) and _WORDS.search(str(fault)) is not None)
        for fault in _chain(error)
    )


def is_elsewhere(error: UserError) -> bool:
    """Whether not the job is wrong, but rights or neighbours: another attempt may well succeed."""
    from botocore.exceptions import BotoCoreError, ClientError

    from receipt_trainer.cli.run_folder import FolderHeldError

    return isinstance(error, FolderHeldError) or isinstance(error.__cause__, BotoCoreError | ClientError)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from; as long as it is, it ends."""
    seen: set[int] = set()
    fault: BaseException | None = error
    while fault is not None and id(fault) not in seen:
        seen.add(id(fault))
        yield fault
        fault = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
