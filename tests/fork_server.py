"""Processes for the price of one import: a server imports what they need, and forks itself for each.

Each has its own signals, streams, folder, environment and exit code.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

QUIET: Final = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
LAUNCHER: Final = str(Path(__file__).with_name("launch.py"))
"""What another program starts where it would start such a process."""
_WIDTH: Final = 8
"""Bytes of a number that is sent."""


class Forked:
    """A process that was asked for; with this object it ends."""

    def __init__(
        self, path: str, argv: Sequence[str], environ: Mapping[str, str], streams: Sequence[int], cwd: object = ""
    ) -> None:
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect("\0" + path)
        request = {"argv": list(argv), "environ": dict(environ), "cwd": str(cwd or os.getcwd())}  # noqa: PTH109
        content = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(self._socket, [content], list(streams))
        self._socket.sendall(content[sent:])
        self.pid = int(self._socket.recv(_WIDTH, socket.MSG_WAITALL))

    def wait(self, timeout_s: float | None = None) -> int:
        """Its exit code; minus the signal's number if one ended it.

        Raises:
            TimeoutError: it still runs.
        """
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        if self.returncode is None and not waiting.poll(None if timeout_s is None else 1000 * timeout_s):
            raise TimeoutError
        with self._lock:
            if self.returncode is None:
                self.returncode = int(self._socket.recv(_WIDTH))
        return self.returncode

    def poll(self) -> int | None:
        """The same, or None while it runs."""
        with contextlib.suppress(TimeoutError):
            self.wait(0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """To the process, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()


@dataclass(frozen=True)
class Program:
    """A program that runs as `main([name, *arguments])` of a module, whose import is paid once a session."""

    name: str
    module: str = "tests.processes"

    @property
    def command(self) -> tuple[str, ...]:
        """What stands for the program, up to its arguments."""
        return (sys.executable, "-I", "-S", LAUNCHER, address(self.module), self.name)

    def start(
        self, argv: Sequence[object], log: Path, environ: Mapping[str, str] | None = None, *, inherits: bool = True
    ) -> Forked:
        """A process with its output in `log`; `environ` is added to ours, or is all that it `inherits`."""
        with Path(os.devnull).open() as empty, log.open("ab") as file:
            whole = {**(os.environ if inherits else {}), **QUIET, **(environ or {})}
            streams = [empty.fileno(), file.fileno(), file.fileno()]
            return Forked(address(self.module), [self.name, *map(str, argv)], whole, streams)

    def run(self, argv: Sequence[object], log: Path, environ: Mapping[str, str] | None = None) -> int:
        """Start and wait."""
        return self.start(argv, log, environ).wait()

    def complete(
        self, argv: Sequence[object], environ: Mapping[str, str], cwd: Path, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """As `subprocess.run` does it, with both outputs captured."""
        words = [self.name, *map(str, argv)]
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            code = Forked(address(self.module), words, environ, [f.fileno() for f in (given, out, err)], cwd).wait()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(words, code, out.read(), err.read())


@cache
def address(module: str) -> str:
    """Abstract socket of a server that has imported the module, for as long as this session of tests lives.

    The workers of pytest-xdist share one: whoever needs it first starts it, the others wait until it is ready.
    """
    session = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    path = f"{module}-{session}"
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if f"@{path}\n" in Path("/proc/net/unix").read_text():
            return path
        process = subprocess.Popen(
            [sys.executable, "-c", f"from tests.fork_server import serve; serve({module!r}, {path!r}, {session})"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=os.environ | QUIET,
            cwd=Path(__file__).parents[1],
        )
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("the fork server died")
    _SERVERS.append(process)
    return path


_SERVERS: Final[list[subprocess.Popen[bytes]]] = []


def serve(module: str, path: str, session: int) -> None:
    """Answer until the process `session` ends: a process id, and the exit code when there is one."""
    import gc
    import importlib
    import selectors

    session_end = os.pidfd_open(session)
    main = importlib.import_module(module).main
    gc.collect()
    gc.freeze()  # children need not walk over what they all share
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + path)
    listener.listen()
    print("ready", flush=True)
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    waiting.register(session_end, selectors.EVENT_READ)
    callers: dict[int, tuple[socket.socket, int]] = {}  # by a descriptor of the process: the caller, the process's id
    while True:
        for key, _ in waiting.select():
            if key.fileobj is session_end:
                return
            if key.fileobj is listener:
                connection, _ = listener.accept()
                pid = _fork(main, connection)
                if pid is None:
                    connection.close()
                    continue
                end = os.pidfd_open(pid)
                callers[end] = (connection, pid)
                waiting.register(end, selectors.EVENT_READ)
                waiting.register(connection, selectors.EVENT_READ, end)
            elif key.data is None:  # the process has ended
                connection, pid = callers.pop(key.fd)
                waiting.unregister(key.fd)
                os.close(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                if connection in waiting.get_map():
                    waiting.unregister(connection)
                    _tell(connection, code)
                connection.close()
            elif callers.get(key.data, (None,))[0] is key.fileobj:  # its caller has gone, and it has not ended before
                waiting.unregister(key.fileobj)
                signal.pidfd_send_signal(key.data, signal.SIGKILL)


def _tell(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # a caller may be killed at any moment
        connection.sendall(b"%*d" % (_WIDTH, number))


def _fork(main: Any, connection: socket.socket) -> int | None:
    """The new process; None if its caller has gone before it said what it wants."""
    content, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not content.endswith(b"\n"):
        piece = connection.recv(1 << 20)
        if not piece:
            return None
        content += piece
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = _child(main, json.loads(content), streams)
        finally:
            os._exit(code & 0xFF)
    for stream in streams:
        os.close(stream)
    _tell(connection, pid)
    return pid


def _child(main: Any, request: dict[str, Any], streams: list[int]) -> int:
    import traceback

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts us in the background ignores it
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 1024)
    os.environ.clear()
    os.environ.update(request["environ"])
    os.chdir(request["cwd"])
    code: object = 1
    try:
        code = main(request["argv"])
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # whatever it is: one process must not go on as two
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 1
