"""The processes of one run, as torchrun starts them; a run without torchrun is its own main process."""

from __future__ import annotations

import os

from torch import Tensor, distributed


def count() -> int:
    """Processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes the run's files."""
    return int(os.environ.get("RANK", "0")) == 0


def join(cuda: bool) -> None:
    """Meet the other processes, so that they can wait for each other before training begins."""
    if count() > 1 and not distributed.is_initialized():
        from accelerate import PartialState  # type: ignore[import-untyped]

        PartialState(cpu=not cuda)


def leave() -> None:
    """Part from the other processes."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def wait_for_all() -> None:
    """Wait until every process is here."""
    if distributed.is_initialized():
        distributed.barrier()


def mean_of_all(value: Tensor) -> float:
    """The mean of every process's number, in every process."""
    if not distributed.is_initialized():
        return float(value)
    total = value.detach().clone()
    distributed.all_reduce(total)
    return float(total) / count()


def same_for_all(values: dict[str, float]) -> dict[str, float]:
    """The main process's values, in every process: none may decide differently from the others."""
    if not distributed.is_initialized():
        return values
    shared = [values]
    distributed.broadcast_object_list(shared, src=0)
    return shared[0]
