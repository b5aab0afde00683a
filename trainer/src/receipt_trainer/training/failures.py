"""Whose fault ended a run: the job's, or the machine's."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.files import FULL, disk_full
from receipt_trainer.training.folder import FolderError

_BROKEN: Final = frozenset(
    {errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EFBIG}
)
"""Error numbers of a full, broken or lost disk, or of a missing device."""

_UNWRITTEN: Final = (
    r"PytorchStreamWriter failed|basic_ios::clear: iostream error|inline_container\.cc:\d+\] \. unexpected pos"
)
"""PyTorch's message about a file that it could not write."""
_WORDS: Final = re.compile(
    r"CUDA error(?!: device-side assert)|CUDA driver|CUDNN_STATUS|CUBLAS_STATUS|NCCL error"
    rf"|{_UNWRITTEN}|\(os error (5|27|28|30|116|122)\)"
)
_FULL_WORDS: Final = re.compile(rf"{_UNWRITTEN}|\(os error (27|28|122)\)")
"""The same from PyTorch's and safetensors' own code, which raise no OSError."""


class MachineError(WorldError):
    """The machine cannot do what it is there for."""


def require_gpu() -> None:
    """On a machine that was hired for its GPU, training on its CPU would cost days: MachineError without one."""
    import torch

    if not torch.cuda.is_available():
        raise MachineError("PyTorch sees no GPU on this machine, which is there for its GPU")


def is_machine_fault(error: BaseException) -> bool:
    """Whether the machine seems to have failed: another one may well succeed, this one hardly."""
    return any(
        isinstance(fault, MachineError | FolderError)
        or (isinstance(fault, OSError) and fault.errno in _BROKEN)
        or (not isinstance(fault, UserError | WorldError) and _WORDS.search(str(fault)) is not None)
        for fault in _chain(error)
    )


def in_one_line(error: BaseException, run_dir: Path) -> BaseException:
    """A fault of the world in place of an error that says that the disk is full or fails; any other error as it is."""
    if isinstance(error, UserError | WorldError):
        return error
    if any(map(_is_full, _chain(error))):
        return disk_full(run_dir, _left_to_write(run_dir))
    broken = [fault for fault in _chain(error) if isinstance(fault, OSError) and fault.errno in _BROKEN]
    return WorldError(f"{run_dir}: the disk or a device fails: {first_line(broken[0])}") if broken else error


def require_room(run_dir: Path, parameters: Iterable[Any]) -> None:
    """Before a run begins: a checkpoint and the model must fit; WorldError: the disk has no room for them.

    Args:
        parameters: of the model; Adam keeps two numbers beside each that is trained.
    """
    size = sum(one.nbytes for one in parameters if one.requires_grad)
    if shutil.disk_usage(run_dir).free < 4 * size:
        raise disk_full(run_dir, 9 * size)  # two checkpoints, as the old one goes last, the model, its package


def _left_to_write(run_dir: Path) -> int:
    """Bytes of two checkpoints of the run; 0 where it has none."""
    sizes = [sum(file.stat().st_size for file in one.rglob("*")) for one in run_dir.glob("checkpoint-*")]
    return 2 * max(sizes, default=0)


def _is_full(fault: BaseException) -> bool:
    """PyTorch says of its own files no more than that they could not be written."""
    if isinstance(fault, OSError):
        return fault.errno in FULL
    return not isinstance(fault, UserError | WorldError) and _FULL_WORDS.search(str(fault)) is not None


def first_line(error: BaseException) -> str:
    """Of its message; its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from; as long as it is, it ends."""
    seen: set[int] = set()
    fault: BaseException | None = error
    while fault is not None and id(fault) not in seen:
        seen.add(id(fault))
        yield fault
        fault = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
