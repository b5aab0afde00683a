"""The real AWS CLI many times for the price of one import: a process that forks itself for each call.

Run as a script it is the caller's end: `aws_cli.py SOCKET ARGUMENT...`, with the files, the environment and the exit
code of the caller.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import traceback
from types import TracebackType
from typing import Self


class AwsCli:
    """A context manager: inside it, calls through `socket_path` are answered."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path

    def __enter__(self) -> Self:
        code = "import sys; from tests.userdata.aws_cli import serve; serve(sys.argv[1])"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, self.socket_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


def serve(socket_path: str) -> None:
    """Answer calls until killed."""
    import signal

    from awscli.clidriver import create_clidriver

    create_clidriver()  # for its imports
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(socket_path)
        listening.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            with connection:
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _answer(connection)


def _answer(connection: socket.socket) -> None:
    from awscli.clidriver import create_clidriver

    text, fds, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not text.endswith(b"\n"):
        text += connection.recv(1 << 20)
    request = json.loads(text)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    data_path = os.environ["AWS_DATA_PATH"]  # of the CLI's own data: set by its import
    os.environ.clear()
    os.environ.update(request["environ"], AWS_DATA_PATH=data_path)
    os.chdir(request["cwd"])
    code = 255
    try:
        code = create_clidriver().main(request["argv"])
        sys.stdout.flush()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # whatever it is: one process must not go on as two
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        connection.sendall(b"%d" % (code & 0xFF))
        os._exit(0)


def _call(socket_path: str, *arguments: str) -> int:
    request = {"argv": arguments, "environ": dict(os.environ), "cwd": str(os.getcwd())}  # noqa: PTH109
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(socket_path)
        text = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(connection, [text], [0, 1, 2])
        connection.sendall(text[sent:])
        return int(connection.recv(16) or b"255")


if __name__ == "__main__":
    sys.exit(_call(*sys.argv[1:]))
