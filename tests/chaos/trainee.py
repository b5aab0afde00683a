"""What a training process of the chaos test has beside its training: it asks before every step.

The answer may take a while, in which the process is killed, frozen or asked to stop in the middle of its training.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import socket
import time
from pathlib import Path
from typing import Any

from tests.chaos import times
from tests.worker.wrong_clock import skew

FULL_DISK_BYTES = 4096


def install(argv: list[str]) -> None:
    """Called in the training process before anything else, with its arguments."""
    times.shorten_requests()
    job = json.loads(Path(argv[-1]).read_bytes())
    own = {"job_id": job["job_id"], "attempt": job["attempt"], "pid": os.getpid(), "worker": os.environ["CHAOS_WORKER"]}
    stage = socket.socket(socket.AF_UNIX)
    stage.connect(os.environ["CHAOS_STAGE"])
    answers = stage.makefile("r")
    handler: Any = importlib.import_module("transformers.trainer_callback").CallbackHandler
    original = handler.on_step_begin

    def on_step_begin(self: Any, args: Any, state: Any, control: Any) -> Any:
        said = own | {"step": state.global_step + 1, "at": time.time()}
        stage.sendall(json.dumps(said).encode() + b"\n")
        answer = answers.readline()
        if answer.startswith("clock "):
            skew(float(answer.removeprefix("clock ")))
        if answer == "fill the disk\n":
            # Python ignores SIGXFSZ, so a write beyond the limit fails as one on a full disk does, with EFBIG.
            resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_DISK_BYTES, FULL_DISK_BYTES))
        return original(self, args, state, control)

    handler.on_step_begin = on_step_begin
