"""Starts `layoutlm-cli` many times for the price of one import: a process that forks itself on request.

Every child is a process of its own, with its own signals, files and exit code. A request may ask for the child to
be killed by SIGKILL at an exact moment: at the n-th call of a function of ours or of torch.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Zygote:
    """The test's side: starts children and waits for them."""

    def __init__(self, program: str = "receipt_trainer.cli.layoutlm", modules: Sequence[str] = ()) -> None:
        """
        Args:
            program: module with the `group` to run.
            modules: imported before the first child, beside what training always needs.
        """
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, program, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def start(self, argv: Sequence[object], log: Path, strike: dict[str, Any] | None = None) -> int:
        """Run `layoutlm-cli *argv` with its output in `log`; returns the process's id.

        Args:
            strike: {"target": "module:name", "call": n, "how": "before" | "after" | "half" | "raise" | "nan"}.
        """
        return int(self._ask({"argv": [str(part) for part in argv], "log": str(log), "strike": strike}))

    def wait(self, pid: int) -> int:
        """Exit code of a child; minus the signal's number if one ended it."""
        return int(self._ask({"wait": pid}))

    def run(self, argv: Sequence[object], log: Path, strike: dict[str, Any] | None = None) -> int:
        """Start and wait."""
        return self.wait(self.start(argv, log, strike))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _ask(self, request: dict[str, Any]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the zygote died")
        return answer


def strike_at(target: str, call: int, how: str) -> None:
    """Wrap a function so that its n-th call is where the process dies (or meets a fault)."""
    module_name, _, name = target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original = getattr(owner, last)
    calls = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != call:
            return original(*args, **kwargs)
        if how == "raise":
            raise RuntimeError("a bug of ours")
        if how == "nan":
            return original(*args, **kwargs) * float("nan")
        if how == "pause":
            pause()
            return original(*args, **kwargs)
        if how != "before":
            original(*args, **kwargs)
        if how == "half":
            file = Path(str(args[1]))
            os.truncate(file, file.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, last, wrapped)


def pause() -> None:
    """Say by a file that the process waits, and wait for a signal that Python handles, however early it comes."""
    arrived = []

    def noting(before: Any) -> Any:
        def handler(number: int, frame: object) -> None:
            arrived.append(number)
            before(number, frame)

        return handler

    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, noting(before))
    Path(os.environ["PAUSED"]).touch()
    while not arrived:
        time.sleep(0.01)


def _child(request: dict[str, Any]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts us in the background ignores it
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    from receipt_trainer.cli.lazy import run

    group = importlib.import_module(sys.argv[1]).group

    os.environ["PAUSED"] = request["log"] + ".paused"
    if request["strike"]:
        strike_at(**request["strike"])
    try:
        run(group, request["argv"])
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1


def main() -> None:
    """Read requests, one JSON a line, until there are none."""
    import torch

    torch.set_num_threads(1)
    for module in (
        "cli.commands.train",
        "models.layoutlm.family",
        "training.run",
        "data.snapshot",
        "reports.run_folder",
        "reports.html",
    ):
        importlib.import_module(f"receipt_trainer.{module}")
    for module in ("torch._dynamo", "matplotlib.backends.backend_svg", "transformers.models.bert", *sys.argv[2:]):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # children need not walk over what they all share
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = _child(request)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
