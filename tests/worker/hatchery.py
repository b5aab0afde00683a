"""Training processes for the price of one import: `launch.py` looks like one to the worker, and is served from here.

For each launcher a process is forked that has its standard streams, environment and signals. TEST_HOLD_AT=n makes it
wait for a signal at its n-th loss, and touch TEST_HOLD_FILE; TEST_DIE_AT=n ends it there by SIGKILL; TEST_RAISE_AT=n
raises there; TEST_FULL_AT=n lets no file grow beyond 20 kB from there on; TEST_UPLOAD_WAIT_S is between two uploads.
TEST_SAVE_AT=n makes it touch TEST_SAVE_FILE and wait until it is asked for a checkpoint.
TEST_STICK_AT=n makes it wait there for ever; TEST_TICK_FILE grows by a byte at each loss.
TEST_HOOK names a module whose `install` is called with its arguments first.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

LAUNCHER = Path(__file__).with_name("launch.py")


class Hatchery:
    """The test's side."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "socket"
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("the hatchery died")

    @property
    def command(self) -> tuple[str, ...]:
        """What stands for `python -m receipt_trainer.worker.main`."""
        return (sys.executable, "-I", "-S", str(LAUNCHER), str(self._socket))

    def close(self) -> None:
        self._process.kill()
        self._process.wait(timeout=60)


def _at_loss(number: int, act: Any) -> None:
    owner: Any = importlib.import_module("receipt_trainer.models.layoutlm.loss").MarginalLoss
    original, calls = owner.__call__, 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if number in (0, calls):
            act()
        return original(*args, **kwargs)

    owner.__call__ = wrapped


def _hold() -> None:
    Path(os.environ["TEST_HOLD_FILE"]).touch()
    signal.pause()


_save_asked = threading.Event()


def _hear_of_saves() -> None:
    owner: Any = importlib.import_module("receipt_trainer.contract.interruption").StopRequest
    original = owner.ask_to_save

    def ask_to_save(self: Any) -> None:
        original(self)
        _save_asked.set()

    owner.ask_to_save = ask_to_save


def _await_save() -> None:
    Path(os.environ["TEST_SAVE_FILE"]).touch()
    _save_asked.wait()


def _stick() -> None:
    Path(os.environ["TEST_HOLD_FILE"]).touch()
    while True:
        signal.pause()


def _tick() -> None:
    with Path(os.environ["TEST_TICK_FILE"]).open("ab") as file:
        file.write(b".")


def _raise() -> None:
    raise RuntimeError("broken on purpose")


def _fill_the_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))


_ACTS = {
    "TEST_HOLD_AT": _hold,
    "TEST_STICK_AT": _stick,
    "TEST_SAVE_AT": _await_save,
    "TEST_DIE_AT": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "TEST_RAISE_AT": _raise,
    "TEST_FULL_AT": _fill_the_disk,
}


def _obey(connection: socket.socket) -> None:
    while connection.recv(1):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGKILL)


def _child(connection: socket.socket, request: dict[str, Any], streams: list[int]) -> int:
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"] | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})
    threading.Thread(target=_obey, args=(connection,), daemon=True).start()
    for name, act in _ACTS.items():
        if name in os.environ:
            _at_loss(int(os.environ[name]), act)
    if "TEST_SAVE_AT" in os.environ:
        _hear_of_saves()
    if "TEST_TICK_FILE" in os.environ:
        _at_loss(0, _tick)
    if "TEST_UPLOAD_WAIT_S" in os.environ:
        uploads: Any = importlib.import_module("receipt_trainer.aws.artifacts").S3Artifacts.__init__
        uploads.__kwdefaults__["retry_wait_s"] = float(os.environ["TEST_UPLOAD_WAIT_S"])
    if "TEST_HOOK" in os.environ:
        sys.path.insert(0, str(Path(__file__).parents[2]))
        importlib.import_module(os.environ["TEST_HOOK"]).install(request["argv"])
    from receipt_trainer.worker.main import main as run

    return run(request["argv"])


def _serve(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        content, ancillary, *_ = connection.recvmsg(1 << 20, socket.CMSG_SPACE(3 * 4))
        streams = array.array("i", ancillary[0][2][:12]).tolist()
        while not content.endswith(b"\n"):
            content += connection.recv(1 << 20)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = _child(connection, json.loads(content), streams)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        for stream in streams:
            os.close(stream)
        threading.Thread(target=_report, args=(connection, pid), daemon=True).start()


def _report(connection: socket.socket, pid: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with connection, contextlib.suppress(OSError):
        connection.sendall(f"{code}\n".encode())


def main() -> None:
    import torch

    torch.set_num_threads(1)
    for module in ("worker.main", "models.layoutlm.family", "training.run", "reports.html", "reports.terminal"):
        importlib.import_module(f"receipt_trainer.{module}")
    for module in ("torch._dynamo", "matplotlib.backends.backend_svg", "transformers.models.bert"):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    parent = os.getppid()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    print("ready", flush=True)
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    while os.getppid() == parent:
        time.sleep(0.5)


if __name__ == "__main__":
    main()
