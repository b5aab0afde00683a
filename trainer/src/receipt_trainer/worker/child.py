"""The training process as the worker sees it: started, asked to stop, ended; what it left, and files between them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from receipt_trainer.worker.lease_watchdog import SAVE
from receipt_trainer.worker.log_forwarder import LogForwarder

_COUNTERS: Final = Path("/proc/vmstat")


def num_oom_kills(counters: Path = _COUNTERS) -> int | None:
    """Processes that the kernel has ended for want of memory since it booted; None where it does not say."""
    try:
        lines = counters.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
    return int(found[0]) if found and found[0].isdecimal() else None


EXIT_DONE: Final = 0
EXIT_MISTAKE: Final = 2
"""Exit code of a fault in the job itself: another attempt would fail the same way."""
EXIT_MACHINE: Final = 71
"""The machine failed: no GPU, a disk that is full or broken (sysexits' EX_OSERR)."""
EXIT_LEASE: Final = 74
"""The lease was not extended in time."""
EXIT_INTERRUPTED: Final = 75
"""Stopped on request, at a complete checkpoint (sysexits' EX_TEMPFAIL)."""
EXIT_UNDELIVERED: Final = 76
"""The run is complete, but AWS did not take its files or its last rows: another attempt only delivers them."""
EXIT_UNDELIVERABLE: Final = 77
"""The same, and this machine cannot deliver it: its rights or its AWS CLI do not let it (sysexits' EX_NOPERM)."""

COMMAND: Final = (sys.executable, "-m", "receipt_trainer.worker.main")
"""Command of the training process; the path of the job file follows."""

MAX_REASON: Final = 1000
"""Characters of a reason; the log has the rest."""


class ChildJob(BaseModel):
    """Instructions for the training process, in a file that only its user can read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_id: str
    attempt: int = Field(description="Fencing token; every row that the run writes bears it")
    spec: dict[str, Any] = Field(description="The resolved JobSpec")
    run_dir: Path = Field(description="Folder of the run, the same for every attempt")
    lease_s: float = Field(description="Seconds for which the lease is held already")
    jobs_table: str
    receipts_table: str | None = None
    artifacts_bucket: str | None = None
    needs_gpu: bool = Field(False, description="The machine is one with a GPU: without it, it is broken")
    progress_file: Path | None = Field(None, description="Where it says that it gets on, see `ProgressFile`")
    save_interval_s: float = Field(0.0, description="Seconds between two checkpoints at most; 0: as the job says")


class Child:
    """One training process with a session of its own, so that nothing it started outlives it; OSError: it cannot start.

    Args:
        on_exit: called once, in a thread, with the exit code; minus the signal's number if one ended it.
        command: program and arguments before the job file.
        words: hears what it writes to its standard error.
    """

    def __init__(
        self,
        job: ChildJob,
        on_exit: Callable[[int], None],
        *,
        command: Sequence[str] = COMMAND,
        words: LogForwarder | None = None,
        folder: Path | None = None,
    ) -> None:
        # Readable by us alone.
        descriptor, name = tempfile.mkstemp(prefix="receipt-trainer-", suffix=".job.json", dir=folder)
        self._job_file = Path(name)
        self.progress_file = self._job_file.with_suffix(".progress")
        self._words = words or LogForwarder()
        self._num_oom_kills = num_oom_kills()
        self._on_exit = on_exit
        try:
            os.close(descriptor)
            self.progress_file.touch(mode=0o600, exist_ok=False)
            told = job.model_copy(update={"progress_file": self.progress_file})
            self._job_file.write_text(told.model_dump_json(), encoding="utf-8")
            self._process = subprocess.Popen(
                [*command, name], stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
        except BaseException:
            self._forget_files()
            raise
        self._reader = threading.Thread(target=self._words.read, args=(self._process.stderr,), daemon=True)
        self._waiter = threading.Thread(target=self._wait, name="child-waiter", daemon=True)
        self._reader.start()
        self._waiter.start()

    @property
    def pid(self) -> int:
        """Process id, and id of its session."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last line that it wrote to its standard error; empty if there is none."""
        return self._words.last[:MAX_REASON]

    def why(self, code: int) -> str:
        """See `why`; for the process as it has ended."""
        before, now = self._num_oom_kills, num_oom_kills()
        return why(code, self.last_words, None if before is None or now is None else now > before)

    def extend(self, seconds: float) -> None:
        """Tell it that the lease is held for so many seconds from now."""
        self._tell(f"{seconds:.3f}")

    def ask_to_save(self) -> None:
        """Let it write a checkpoint at the end of its step, and continue."""
        self._tell(SAVE)

    def _tell(self, line: str) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(f"{line}\n".encode())
                self._process.stdin.flush()
        except (OSError, ValueError):  # it has ended: its exit code says the rest
            return

    def ask_to_stop(self) -> None:
        """SIGTERM: finish the step, write a checkpoint, exit with `EXIT_INTERRUPTED`."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to it and to all that it started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # no process is left; or macOS, of a zombie
            return

    def _wait(self) -> None:
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            self.kill()  # what it started and left; unreaped as it is, its group's number cannot be another's yet
        code = self._process.wait()
        self._reader.join(timeout=5)
        self._forget_files()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # lines that it no longer read
                self._process.stdin.close()
        self._on_exit(code)

    def _forget_files(self) -> None:
        self._job_file.unlink(missing_ok=True)
        self.progress_file.unlink(missing_ok=True)

    def join(self, seconds: float | None = None) -> bool:
        """Wait until it has ended and `on_exit` has been called; False if it has not after `seconds`."""
        self._waiter.join(seconds)
        return not self._waiter.is_alive()


def why(code: int, last_words: str, oom_killed: bool | None = None) -> str:
    """One line for the attempt's row: how the process ended, and its last words.

    `oom_killed`: whether the system has ended a process for want of memory meanwhile; None: it does not say.
    """
    if code == EXIT_MISTAKE and last_words:
        return last_words.removeprefix("error: ")
    if code < 0:
        try:
            how = f"killed by {signal.Signals(-code).name}"
        except ValueError:
            how = f"killed by signal {-code}"
        if -code == signal.SIGKILL and oom_killed is not False:
            how += ": the machine ran out of memory" if oom_killed else " (out of memory?)"
    else:
        known = {
            EXIT_MACHINE: "the machine failed",
            EXIT_UNDELIVERED: "the run is complete, but not delivered",
            EXIT_UNDELIVERABLE: "the run is complete, but this machine cannot deliver it",
        }
        how = known.get(code, f"exit code {code}")
    return f"{how}: {last_words}" if last_words else how


PREFIX: Final = "receipt-trainer-worker-"
LOCK: Final = ".lock"
OLD_S: Final = 86_400.0
"""Files whose owner cannot be known are left alone for so long; a process that lives writes its progress more often."""


class Scratch:
    """The folder of one worker, locked for as long as its process lives; only its user can read it.

    What workers left that are gone is removed first. OSError: it cannot be made.
    """

    def __init__(self, root: Path | None = None) -> None:
        root = root or Path(tempfile.gettempdir())
        clean(root)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        # Under its name only once it is locked: no other process finds it free before.
        self._lock = os.open(self.path / f"{LOCK}.new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        (self.path / f"{LOCK}.new").rename(self.path / LOCK)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def clean(root: Path) -> None:
    """Remove the folders of workers that are gone, and the files that version 0.1.0 left, of this user alone."""
    with contextlib.suppress(OSError):
        for path in root.glob(f"{PREFIX}*"):
            if _is_own(path) and path.is_dir() and _is_left(path):
                shutil.rmtree(path, ignore_errors=True)
        for path in root.glob("receipt-trainer-*.job.json"):
            pair = [path, path.with_suffix(".progress")]
            if _is_own(path) and all(_is_old(one) for one in pair if one.exists()):
                for one in pair:
                    one.unlink(missing_ok=True)


def _is_own(path: Path) -> bool:
    return not path.is_symlink() and path.lstat().st_uid == os.getuid()


def _is_old(path: Path) -> bool:
    return time.time() - path.lstat().st_mtime > OLD_S


def _is_left(folder: Path) -> bool:
    """Whether its worker is gone: the system let go of its lock."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _is_old(folder)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
