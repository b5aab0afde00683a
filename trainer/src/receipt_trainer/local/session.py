"""The local session: one embedded AWS with a stack on it, which every command finds by the name `local`.

A session has a folder of its user's alone. A lock beside it is held as long as the session's process lives, so that a
file that was left behind is distinguished from a running session. Each worker is an instance: a folder with its
process, a lock that it holds as long as it lives, and the notices for it. The next worker is another one, without one.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import secrets
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.files import write_atomically
from receipt_trainer.local.emulator import ELSEWHERE, LocalCloud, no_proxy, without_elsewhere
from receipt_trainer.local.imds import NOTICES, ImdsStandIn, notify

ENV_DIR: Final = "RECEIPT_TRAINER_LOCAL_DIR"
WORKERS: Final = "workers"
"""Folder of the instances, below the session's own."""
END_GRACE_S: Final = 60.0
"""For workers to save their jobs when the session ends."""
_END_POLL_S: Final = 0.1
LOOK_S: Final = 2.0
START: Final = "receipt-trainer local up"
_LOCK: Final = "lock"
_SESSION: Final = "session"
_FILE: Final = "session.json"
_PID: Final = "pid"
_INSTANCE: Final = "i-local-"
_LOCK_S: Final = 0.5
"""A process that looks whether the lock is held keeps it for a moment, which must not pass for a session."""
_OF_ANOTHER_STACK: Final = (
    *(names.ENV_QUEUE_URL_HIGH, names.ENV_QUEUE_URL_NORMAL, names.ENV_AUTO_SCALING_GROUP, names.ENV_LIFECYCLE_HOOK),
)
"""Variables that an instance of the cloud has, and a local worker must not take for its own."""


class Session(BaseModel):
    """The data of a session for other processes; readable by its user alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    session_id: str = Field(description="Unique id of the session")
    pid: int = Field(description="The process that holds it")
    started_at: str
    program: str = Field(description="Folder of the Pulumi program")
    endpoint: str = Field(description="URL of the embedded AWS")
    environment: dict[str, str] = Field(description="Variables for our commands and the AWS CLI")
    outputs: StackOutputs = Field(description="Outputs of the stack")

    def applied_to(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with the session's variables, and without what would lead past it."""
        kept = {name: value for name, value in without_elsewhere(environ).items() if name not in _OF_ANOTHER_STACK}
        return kept | self.environment | no_proxy(environ)

    def shell(self) -> str:
        """The same as lines for a shell."""
        unset = [f"unset {name}" for name in (*ELSEWHERE, *_OF_ANOTHER_STACK)]
        given = self.environment | no_proxy(os.environ)
        return "\n".join([*unset, *(f"export {name}={shlex.quote(value)}" for name, value in given.items())])

    def is_live(self) -> bool:
        """Whether it is this session that runs."""
        found = find()
        return found is not None and found.session_id == self.session_id


def home() -> Path:
    """Where the user's session is: RECEIPT_TRAINER_LOCAL_DIR, or a folder among the user's state."""
    if given := os.environ.get(ENV_DIR):
        return Path(given).absolute()
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "receipt-trainer" / "local"


def folder() -> Path:
    """The session's own folder, which goes with it: checkpoints of its workers are below it."""
    return home() / _SESSION


def find() -> Session | None:
    """The session that runs, or None; one that is still starting counts as none."""
    return _read() if is_held() else None


def require() -> Session:
    """The session that runs; UserError: there is none; the message says what to do."""
    found = find()
    if found is not None:
        return found
    if is_held():
        raise UserError("the local session is still starting; try again in a moment")
    left = _read()
    if left is not None:
        raise UserError(f"the local session of process {left.pid} has died; start another one with: {START}")
    raise UserError(f"no local session is running; start one with: {START}")


def write(session: Session) -> None:
    """Announce the session, atomically and to its user alone."""
    path = folder() / _FILE
    write_atomically(path, session.model_dump_json(indent=1).encode())
    path.chmod(0o600)  # its folder admits no other user meanwhile


def _read() -> Session | None:
    try:
        return Session.model_validate_json((folder() / _FILE).read_bytes())
    except (OSError, ValidationError):
        return None


@contextmanager
def own() -> Iterator[Path]:
    """Hold the user's one session: its empty folder, which is removed again afterwards.

    Raises:
        UserError: a session runs already, or the folder cannot be written.
    """
    root = home()
    lock = FileLock(root / _LOCK, timeout=_LOCK_S)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        found = _read()
        who = f" (process {found.pid})" if found else ""
        raise UserError(f"a local session is running already{who}; end it with: receipt-trainer local down") from None
    except OSError as error:
        raise UserError(f"{root}: cannot write there: {error.strerror}; {ENV_DIR} names another folder") from None
    try:
        shutil.rmtree(folder(), ignore_errors=True)  # of a session that died
        folder().mkdir(mode=0o700)
        yield folder()
    finally:
        clear()
        lock.release()


def clear() -> None:
    """Remove what a session has left; the caller holds its lock, or no process does."""
    root = home()
    shutil.rmtree(folder(), ignore_errors=True)
    (root / _LOCK).unlink(missing_ok=True)
    with suppress(OSError):  # something of the user's is there
        root.rmdir()


def is_held() -> bool:
    """Whether a session's process lives."""
    return is_locked(home() / _LOCK)


def is_locked(path: Path) -> bool:
    """Whether a process holds this file's lock. Looks are no locks to each other, however long one takes."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def aws_cli() -> str:
    """The AWS CLI of local workers: the named one, the system's, else the one installed beside our own commands."""
    beside = Path(sys.executable).with_name("aws")
    if given := os.environ.get(names.ENV_AWS_CLI):
        return given
    return str(beside) if not Path(names.DEFAULT_AWS_CLI).exists() and beside.exists() else names.DEFAULT_AWS_CLI


def instances() -> list[dict[str, Any]]:
    """Every instance that the session had: `instance_id`, `pid`, whether it is `alive`, kinds of its `notices`."""
    found: list[dict[str, Any]] = []
    for at in itertools.count(1):
        place = folder() / WORKERS / f"{_INSTANCE}{at}"
        if not place.is_dir():
            return found
        if (pid := place / _PID).is_file():  # else it is still starting
            notices = [kind for kind in NOTICES if (place / kind).is_file()]
            alive = is_locked(place / _LOCK)
            said = {"instance_id": place.name, "pid": int(pid.read_text()), "alive": alive, "notices": notices}
            found.append(said)
    return found


def interrupt(instance_id: str, kind: str, warning_s: float) -> None:
    """Deliver a notice to one of the `instances`."""
    notify(folder() / WORKERS / instance_id, kind, warning_s)


@contextmanager
def join(session: Session) -> Iterator[str]:
    """The URL of the metadata service of a new instance that is this process, as long as the block lasts.

    Raises:
        WorldError: the session has ended.
    """
    root = folder() / WORKERS
    for at in itertools.count(1):
        place = root / f"{_INSTANCE}{at}"
        try:
            place.mkdir(mode=0o700)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise WorldError(f"the local session of process {session.pid} is gone: {error}") from None
    # Not a type that is for sale, and no way in which it was bought: such an instance has no price.
    kind: dict[str, Any] = {"instance_type": "local", "zone": "local", "life_cycle": None}
    with FileLock(place / _LOCK), ImdsStandIn(place.name, **kind, notices=place) as service:
        write_atomically(place / _PID, str(os.getpid()).encode())
        yield service.url


@contextmanager
def lifeline(session: Session, on_gone: Callable[[], None], interval_s: float = LOOK_S) -> Iterator[None]:
    """Within it, a thread looks whether the session lives; it calls `on_gone` once."""
    closed = threading.Event()

    def look() -> None:
        while not closed.wait(interval_s):
            if not session.is_live():
                on_gone()
                return

    thread = threading.Thread(target=look, name="session-lifeline", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closed.set()
        thread.join()


StandUp = Callable[[LocalCloud], StackOutputs]
"""Creates a stack on an empty embedded AWS; what it exports."""


@contextmanager
def host(program: Path, stand_up: StandUp, fill: Callable[[Session], None]) -> Iterator[Session]:
    """Hold the user's local session; at the end of the block its workers are asked to go, and nothing is left of it.

    `stand_up` creates the stack, `fill` puts receipts into it before others come. UserError: a session runs already.
    """
    with ExitStack() as held:
        place = held.enter_context(own())
        (place / WORKERS).mkdir(mode=0o700)
        cloud = held.enter_context(LocalCloud(empty=True))
        outputs = stand_up(cloud)
        held.callback(end_workers)
        session = Session(
            session_id=secrets.token_hex(8),
            pid=os.getpid(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            program=str(program),
            endpoint=cloud.endpoint,
            environment=cloud.environment()
            | {names.ENV_CHECKPOINTS_DIR: str(place / "checkpoints"), names.ENV_AWS_CLI: aws_cli()},
            outputs=outputs,
        )
        fill(session)
        write(session)
        yield session


def end_workers(grace_s: float = END_GRACE_S) -> None:
    """Ask the workers of a session to go, and wait for them."""
    asked = {one["instance_id"]: one["pid"] for one in instances() if one["alive"]}
    for pid in asked.values():
        with suppress(ProcessLookupError):  # it has ended between the two looks
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(one["alive"] and one["instance_id"] in asked for one in instances()) and time.monotonic() < deadline:
        time.sleep(_END_POLL_S)


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
