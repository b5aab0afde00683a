"""What happens to a process at the n-th call of a function, as its environment says."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

LOSS: Final = "receipt_trainer.models.layoutlm.trainer:MarginalLoss.__call__"
VL_LOSS: Final = "receipt_trainer.models.paddleocr_vl.trainer:TokenLoss.__call__"

_CLONE_NEWNS, _MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20000, 1, 32, 4096, 16384, 1 << 18


def strike(how: str, call: int, target: str = LOSS, file: Path | None = None) -> dict[str, str]:
    """The variable that has it happen.

    Args:
        how: a name in `_ACTS`.
        call: number of the call from 1; 0 means each.
        target: "module:function" or "module:class.method".
        file: touched, or what is meant by the act.
    """
    content = {"target": target, "call": call, "how": how, "file": str(file) if file else os.devnull}
    return {f"TEST_STRIKE_{how.upper()}": json.dumps(content)}


def expect(patch: pytest.MonkeyPatch, how: str, call: int, target: str = LOSS, file: Path | None = None) -> None:
    """Have it happen in every process that starts from here on, until `forget`."""
    for name, value in strike(how, call, target, file).items():
        patch.setenv(name, value)


def forget(patch: pytest.MonkeyPatch, how: str) -> None:
    """Let it happen no more."""
    patch.delenv(f"TEST_STRIKE_{how.upper()}")


def obey() -> None:
    """Wrap the functions that the environment names."""
    for name, content in os.environ.items():
        if name.startswith("TEST_STRIKE_"):
            _wrap(**json.loads(content))


def _wrap(target: str, call: int, how: str, file: str) -> None:
    module_name, _, name = target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original, act, calls = getattr(owner, last), _ACTS[how], 0
    if how == "save":
        _hear_of_saves()

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if call not in (0, calls):
            return original(*args, **kwargs)
        if how == "nan":
            return original(*args, **kwargs) * float("nan")
        if how in ("half", "after"):
            original(*args, **kwargs)
        act(Path(str(args[1])) if how == "half" else Path(file))
        return original(*args, **kwargs)

    setattr(owner, last, wrapped)


def _kill(file: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)
    _kill(file)


def _raise(file: Path) -> None:
    raise RuntimeError("broken on purpose")


def _hold(file: Path) -> None:
    """Until a signal that Python handles, however early it comes."""
    arrived = []

    def noting(before: Callable[..., Any]) -> Callable[..., None]:
        def handler(number: int, frame: object) -> None:
            arrived.append(number)
            before(number, frame)

        return handler

    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, noting(before))
    file.touch()
    while not arrived:
        time.sleep(0.01)


def _stick(file: Path) -> None:
    file.touch()
    while True:
        signal.pause()


_save_asked = threading.Event()


def _hear_of_saves() -> None:
    owner: Any = importlib.import_module("receipt_trainer.contract.interruption").StopRequest
    original = owner.ask_to_save

    def ask_to_save(self: Any) -> None:
        original(self)
        _save_asked.set()

    owner.ask_to_save = ask_to_save


def _await_save(file: Path) -> None:
    file.touch()
    _save_asked.wait()


def _tick(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b".")


def _fill_the_disk(file: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))


def _make_read_only(folder: Path) -> None:
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

    call(libc.unshare(_CLONE_NEWNS))
    call(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    call(libc.mount(path, path, None, _MS_BIND, None))
    call(libc.mount(b"none", path, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY, None))


_ACTS: Final[dict[str, Callable[[Path], object]]] = {
    "before": _kill,
    "after": _kill,
    "half": _halve,
    "raise": _raise,
    "nan": _raise,
    "hold": _hold,
    "stick": _stick,
    "save": _await_save,
    "tick": _tick,
    "full": _fill_the_disk,
    "read_only": _make_read_only,
    "vanish": shutil.rmtree,
}
"""before, after, half: killed by SIGKILL before the call, after it, or when half of the file that it wrote is gone;
nan: what is returned becomes NaN; hold, stick, save: `file` is touched, and the process waits until it is asked to
stop, for ever, or until it is asked for a checkpoint; tick: `file` grows by a byte; full: no file grows beyond 20 kB
any more; read_only, vanish: what becomes of the folder `file`."""
