"""Holding a local session: the embedded AWS, the stack, an instance for each worker, and the control that others ask.

A notice is for one instance, and an instance is one worker: the next worker is another instance, without a notice.

The control answers on loopback, in JSON: `GET /instances` lists them; `POST /instances` with {"pid", "lock"} makes one;
`PUT /instances/<id>/notices/<kind>` with the seconds of warning delivers a notice; `POST /end` ends the session.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.local import session as sessions
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.imds import NOTICES, SPOT_WARNING_S, ImdsStandIn, LoopbackServer
from receipt_trainer.local.session import WORKERS, is_locked

LOCK_NAME: Final = re.compile(r"[0-9]{1,10}-[0-9a-f]{8}\.lock", flags=re.ASCII)
END_GRACE_S: Final = 60.0
"""For workers to save their jobs when the session ends."""
_END_POLL_S: Final = 0.1


@dataclass
class LocalInstance:
    """One worker's instance.

    Attributes:
        lock: a file that the worker's process has locked as long as it lives.
        notices: kinds of notices that were delivered.
    """

    instance_id: str
    pid: int
    lock: Path
    stand_in: ImdsStandIn
    notices: list[str] = field(default_factory=list)

    def as_row(self) -> dict[str, Any]:
        """For the control's answer."""
        alive = is_locked(self.lock)
        return {"instance_id": self.instance_id, "pid": self.pid, "alive": alive, "notices": list(self.notices)}


class Machines:
    """All instances of a session; may be used from several threads."""

    def __init__(self, locks: Path) -> None:
        """`locks`: the folder of the workers' lock files."""
        self._locks = locks
        self._instances: dict[str, LocalInstance] = {}
        self._num_launched = 0
        self._guard = threading.Lock()

    def launch(self, pid: int, lock: str) -> tuple[str, str]:
        """A new instance for the worker of this process; its id and the URL of its metadata service.

        Raises:
            ValueError: no name of a lock file.
        """
        if not LOCK_NAME.fullmatch(lock):
            raise ValueError("lock must be PID-HEX.lock")
        with self._guard:
            self._num_launched += 1
            # Not a type that is for sale, and no way in which it was bought: such an instance has no price.
            stand_in = ImdsStandIn(
                f"i-local-{self._num_launched}", instance_type="local", zone="local", life_cycle=None
            ).__enter__()
            instance_id = stand_in.paths["instance-id"]
            self._instances[instance_id] = LocalInstance(instance_id, pid, self._locks / lock, stand_in)
        return instance_id, stand_in.url

    def rows(self) -> list[dict[str, Any]]:
        """Every instance there was, with its process, whether that lives, and its notices."""
        with self._guard:
            return [instance.as_row() for instance in self._instances.values()]

    def interrupt(self, instance_id: str, kind: str, warning_s: float = SPOT_WARNING_S) -> None:
        """Deliver a notice to one instance.

        Raises:
            KeyError: no such instance, or no such kind of notice.
        """
        with self._guard:
            instance = self._instances[instance_id]
            instance.stand_in.interrupt(kind, warning_s=warning_s)
            instance.notices.append(kind)

    def end(
        self,
        grace_s: float = END_GRACE_S,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> int:
        """Ask the workers to go, wait for them, and end their metadata services; how many were asked."""
        asked = [instance for instance in self._instances.values() if is_locked(instance.lock)]
        for instance in asked:
            try:
                os.kill(instance.pid, signal.SIGTERM)
            except ProcessLookupError:  # it has ended between the two looks
                continue
        deadline = monotonic() + grace_s
        while any(is_locked(instance.lock) for instance in asked) and monotonic() < deadline:
            sleep(_END_POLL_S)
        for instance in self._instances.values():
            instance.stand_in.__exit__(None, None, None)
        return len(asked)


class Control(LoopbackServer):
    """A context manager: while it is open, it answers at `url`."""

    def __init__(self, machines: Machines, on_end: Callable[[], None]) -> None:
        """Take what it controls; `on_end` is called in a thread when the session shall end."""
        self._machines, self._on_end = machines, on_end
        super().__init__()

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: str) -> tuple[int, str]:
        """Status and JSON of one request."""
        try:
            return 200, json.dumps(self._do(method, path.strip("/").split("/"), body))
        except LookupError as error:
            return 404, json.dumps({"error": f"no such thing: {error}"})
        except (ValueError, TypeError) as error:
            return 400, json.dumps({"error": f"{type(error).__name__}: {error}"})

    def _do(self, method: str, parts: list[str], body: str) -> Any:
        match method, parts:
            case "GET", ["instances"]:
                return self._machines.rows()
            case "POST", ["instances"]:
                asked = json.loads(body)
                instance_id, url = self._machines.launch(int(asked["pid"]), str(asked["lock"]))
                return {"instance_id": instance_id, "url": url}
            case "POST", ["end"]:
                self._on_end()
                return {}
            case "PUT", ["instances", instance_id, "notices", kind] if kind in NOTICES:
                self._machines.interrupt(instance_id, kind, float(body or SPOT_WARNING_S))
                return {}
        raise LookupError("/".join(parts))


StandUp = Callable[[LocalCloud], StackOutputs]
"""Creates a stack on an empty embedded AWS; what it exports."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """A session that this process holds.

    Attributes:
        session: what others know of it.
        folder: its own.
        ended: set when somebody asks for its end.
    """

    session: sessions.Session
    cloud: LocalCloud
    folder: Path
    ended: threading.Event


@contextmanager
def host(program: Path, stand_up: StandUp, fill: Callable[[sessions.Session], None]) -> Iterator[Hosted]:
    """Hold the user's local session; at the end of the block its workers are asked to go, and nothing is left of it.

    Args:
        program: folder of the stack's program, for the session file.
        stand_up: creates the stack.
        fill: puts receipts into it, before others may come.

    Raises:
        UserError: a session runs already; or as `stand_up` and `fill` say.
        WorldError: as they say.
    """
    root = sessions.home()
    with ExitStack() as held:
        folder = held.enter_context(sessions.own(root))
        (folder / WORKERS).mkdir(mode=0o700)
        cloud = held.enter_context(LocalCloud(empty=True))
        outputs = stand_up(cloud)
        machines, ended = Machines(folder / WORKERS), threading.Event()
        held.callback(machines.end)
        control = held.enter_context(Control(machines, ended.set))
        session = sessions.Session(
            session_id=secrets.token_hex(8),
            pid=os.getpid(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            program=str(program),
            endpoint=cloud.endpoint,
            control_url=control.url,
            environment=cloud.environment()
            | {names.ENV_CHECKPOINTS_DIR: str(folder / "checkpoints"), names.ENV_AWS_CLI: sessions.aws_cli()},
            outputs=outputs,
        )
        fill(session)
        sessions.write(session, root)
        yield Hosted(session, cloud, folder, ended)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within it, the signals that end a program end it by SystemExit, so that nothing is left behind."""

    def leave(number: int, frame: object) -> NoReturn:
        for other in before:  # a second one would interrupt the clearing up
            signal.signal(other, signal.SIG_IGN)
        sys.exit(128 + number)

    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
