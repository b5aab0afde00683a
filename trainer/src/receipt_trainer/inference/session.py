"""How models are run by onnxruntime: few threads that sleep while they wait, memory that is given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from receipt_trainer.errors import UserError


def open_session(path: Path, *, threads: int = 1) -> Any:
    """A model, ready to run; several threads may run it at the same time.

    Args:
        threads: that one run uses.

    Raises:
        UserError: onnxruntime cannot load it.
    """
    import onnxruntime  # a reader through a server needs none

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False  # inputs differ in size: what was needed goes
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads burn no CPU time
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"{path}: onnxruntime cannot load it: {' '.join(str(error).split())[:160]}") from None
