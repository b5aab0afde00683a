"""Experiments in processes of their own: the memory of one is not that of the next, and a crash ends only one."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

PROGRAM: Final = (sys.executable, "-m", "receipt_trainer")


def call(*words: object, log: Path, quiet: bool = False) -> str | None:
    """Run a command of ours; None, or the reason that it gave for its failure.

    Args:
        log: gets what the command says of errors; replaced.
        quiet: put what it prints there too.

    Raises:
        KeyboardInterrupt: this process was asked to end; the command was asked too, and has ended.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w+b") as stream:
        # Its own session: what is asked of this process in the terminal reaches the child once, through us.
        child = subprocess.Popen(
            [*PROGRAM, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=stream if quiet else None,
            stderr=stream,
            start_new_session=True,
        )
        with _ending(child):
            code = child.wait()
    return None if code == 0 else reason(code, log)


@contextlib.contextmanager
def _ending(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """While it runs, SIGTERM to us is as Ctrl+C; any early end of ours asks the child to end, and waits for it."""

    def on_signal(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
        signal.signal(signal.SIGTERM, before)


def reason(code: int, log: Path) -> str:
    """Why a command failed: its line of the error, else its last line, else how it ended."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors: Sequence[str] = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return (errors or lines or [f"exit code {code}"])[-1]
