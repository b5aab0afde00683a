"""The worker processes: three places, each with its way to AWS and its metadata service; who goes is replaced."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from receipt_trainer.contract import names
from receipt_trainer.local.imds import ImdsStandIn
from tests.chaos import times
from tests.chaos.tcp_proxy import TcpProxy, Watch
from tests.fork_server import Forked, Program

SLOTS = ("a", "b", "c")
GROUP = "chaos"
"""Of the workers' instances, which it does not know: whoever ends one is told that it is no member any more."""
ROOT = Path(__file__).parents[2]
CUT_OFF = re.compile(r"error: ((read|write) the instance's row|look at the jobs table): ")
"""What a worker says that finds AWS cut off as it starts."""


@dataclass
class Member:
    """One worker process, of all that ever were.

    Attributes:
        process_id: of the worker; `children` are those of its training processes.
        why_gone: what the test did to it; None: nothing, or it was asked to end.
    """

    slot: str
    instance_id: str
    process: Forked
    imds: ImdsStandIn
    started_at: float
    log: Path
    why_gone: str | None = None
    gone_at: float | None = None
    is_frozen: bool = False
    children: set[int] = field(default_factory=set)

    def gave_up(self) -> bool:
        """Whether it found AWS cut off as it started: exit code 1, to be started again by systemd."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        is_fault = bool(lines) and CUT_OFF.match(lines[-1]) is not None
        return self.process.returncode == 1 and is_fault

    def kill(self, why: str) -> None:
        """SIGKILL to the worker."""
        self.why_gone = self.why_gone or why
        send(self.process.pid, signal.SIGKILL)


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class Crew:
    """A context manager; nothing that it started outlives it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], queues: Sequence[str], folder: Path):
        """Name what all workers share.

        Args:
            command: what stands for the training command.
            environment: of the embedded AWS, with the stage's address.
            queues: URLs, in the order of polling.
            folder: for checkpoints and logs.
        """
        self._command, self._environment, self._queues, self._folder = command, environment, queues, folder
        cli = folder / "aws"
        cli.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {ROOT}/tests/chaos/aws_cli.py "$@"\n')
        cli.chmod(0o755)
        self._numbers = count(1)
        self.proxies: dict[str, TcpProxy] = {}
        self.at: dict[str, Member] = {}
        self.all: list[Member] = []

    def open(self, target: str, watch_of: Mapping[str, Watch]) -> None:
        """Open the proxies, one for each place, and start the workers."""
        for slot in SLOTS:
            self.proxies[slot] = TcpProxy(target, watch_of[slot]).__enter__()
            self._start(slot)

    def _start(self, slot: str) -> None:
        number = next(self._numbers)
        instance_id = f"i-{number:017x}"
        imds = ImdsStandIn(instance_id).__enter__()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= self._environment
        environment |= {
            "AWS_ENDPOINT_URL": self.proxies[slot].url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.url,
            "CHAOS_WORKER": instance_id,
            "TEST_HOOK": "tests.chaos.trainee",
            "TEST_UPLOAD_WAIT_S": "0.2",
            names.ENV_AUTO_SCALING_GROUP: GROUP,
            names.ENV_AWS_CLI: str(self._folder / "aws"),
        }
        environment.pop("AWS_EC2_METADATA_DISABLED", None)
        queues = [part for url in self._queues for part in ("--queue-url", url)]
        own = ["--checkpoints-dir", str(self._folder / "checkpoints"), "--idle-timeout", str(times.IDLE_S)]
        path = self._folder / f"worker-{number:03d}-{slot}.log"
        options = json.dumps({"command": self._command, "chaos": True})
        program = Program("start-worker")
        process = program.start([options, *queues, *own], path, environment, inherits=False)
        member = Member(slot, instance_id, process, imds, time.time(), path)
        self.at[slot] = member
        self.all.append(member)

    def replace_the_gone(self) -> None:
        """As an Auto Scaling group does, only at once."""
        for slot, member in list(self.at.items()):
            if member.process.poll() is not None:
                self._leave(member)
                self._start(slot)

    def _leave(self, member: Member) -> None:
        if member.gone_at is None:
            member.gone_at = time.time()
            member.imds.__exit__(None, None, None)

    def end(self, timeout_s: float) -> bool:
        """Ask all to end; whether they did."""
        for member in self.at.values():
            send(member.process.pid, signal.SIGTERM)
        until = time.monotonic() + timeout_s
        for member in self.at.values():
            try:
                member.process.wait(max(0.0, until - time.monotonic()))
            except TimeoutError:
                return False
            self._leave(member)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.at.values():
            if member.process.poll() is None:
                for pid in (member.process.pid, *member.children):
                    send(pid, signal.SIGKILL)
            member.process.wait()
            self._leave(member)
        for proxy in self.proxies.values():
            proxy.__exit__(None, None, None)
