"""The processes of one run, as torchrun starts them; a run without torchrun is its own main process."""

from __future__ import annotations

import os
import sys
from typing import Any


def count() -> int:
    """Processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes the run's files."""
    return int(os.environ.get("RANK", "0")) == 0


def join(cuda: bool) -> None:
    """Meet the other processes, so that they can wait for each other before training begins."""
    if count() > 1 and _group() is None:
        from accelerate import PartialState

        PartialState(cpu=not cuda)


def _group() -> Any:
    """torch.distributed where this process has joined others, else None; it is not imported for the question."""
    group: Any = sys.modules.get("torch.distributed")
    return group if group is not None and group.is_initialized() else None


def leave() -> None:
    """Part from the other processes."""
    if (group := _group()) is not None:
        group.destroy_process_group()


def wait_for_all() -> None:
    """Wait until every process is here."""
    if (group := _group()) is not None:
        group.barrier()


def mean_of_all(value: Any) -> float:
    """The mean of every process's number, a tensor of one, in every process."""
    if (group := _group()) is None:
        return float(value)
    total = value.detach().clone()
    group.all_reduce(total)
    return float(total) / count()


def same_for_all(values: dict[str, float]) -> dict[str, float]:
    """The main process's values, in every process: none may decide differently from the others."""
    if (group := _group()) is None:
        return values
    shared = [values]
    group.broadcast_object_list(shared, src=0)
    return shared[0]
