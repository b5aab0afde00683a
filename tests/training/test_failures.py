"""What a run makes of an error that is none of its own."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.training.failures import in_one_line, is_machine_fault


def raised_from(number: int) -> RuntimeError:
    error = RuntimeError("a checkpoint could not be written")
    error.__cause__ = OSError(number, os.strerror(number))
    return error


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.EIO, "fails"), (errno.ESTALE, "fails"), (errno.EROFS, "fails"), (errno.ENOSPC, "disk full; free ")],
)
def test_a_disk_that_fails_is_one_line_and_the_machines_fault(number: int, told: str) -> None:
    """However deep the disk's own error lies, it is a fault of the world that names the run's folder."""
    error = raised_from(number)
    fault = in_one_line(error, Path("/mnt/checkpoints/jobs/one"))
    assert isinstance(fault, WorldError)
    assert told in str(fault)
    assert str(fault).startswith("/mnt/checkpoints/jobs/one: ")
    assert "\n" not in str(fault)
    fault.__cause__ = error
    assert is_machine_fault(fault)


@pytest.mark.parametrize("save", [torch.save, save_file])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_file_that_stays_incomplete_is_a_full_disk(
    tmp_path: Path, save: Callable[[Any, Path], None], share: float
) -> None:
    """Wherever the room ends for what PyTorch and safetensors write, it is one line and the machine's fault."""
    weights, path = {f"layer.{number}": torch.zeros(3000) for number in range(20)}, tmp_path / "weights"
    save(weights, path)
    room = int(path.stat().st_size * share)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(Exception) as failed:
            save(weights, tmp_path / "more")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert is_machine_fault(failed.value)
    fault = in_one_line(failed.value, tmp_path)
    assert isinstance(fault, WorldError)
    assert "disk full; free " in str(fault)
    assert "\n" not in str(fault)


@pytest.mark.parametrize("error", [ValueError("a bug of ours"), UserError("a mistake"), OSError(errno.ENOENT, "gone")])
def test_any_other_error_stays_as_it_is(error: Exception) -> None:
    """A bug keeps its traceback, a mistake its line."""
    assert in_one_line(error, Path("run")) is error
    assert not is_machine_fault(error)
