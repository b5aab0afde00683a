"""What a training process meets whose checkpoints' folder becomes read-only or vanishes; a hook of the hatchery.

TEST_FOLDER_FAULT says which, TEST_FOLDER_AT at which loss.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Final

CLONE_NEWNS: Final = 0x20000
MS_RDONLY: Final = 1
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18


def make_read_only(folder: Path) -> None:
    """For this thread and what it starts: a mount of its own, as an NFS server's that exports it so.

    Raises:
        OSError: this user may not mount.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    path = str(folder).encode()

    def call(result: int) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    call(libc.unshare(CLONE_NEWNS))
    call(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    call(libc.mount(path, path, None, MS_BIND, None))
    call(libc.mount(b"none", path, None, MS_REMOUNT | MS_BIND | MS_RDONLY, None))


def install(argv: list[str]) -> None:
    """Called in the training process before anything else, with its arguments."""
    hatchery = sys.modules["__main__"]
    run_dir = Path(json.loads(Path(argv[-1]).read_bytes())["run_dir"])
    acts = {
        "read-only": lambda: make_read_only(run_dir.parents[1]),
        "vanish": lambda: shutil.rmtree(run_dir.parents[1]),
    }
    hatchery._at_loss(int(os.environ["TEST_FOLDER_AT"]), acts[os.environ["TEST_FOLDER_FAULT"]])
