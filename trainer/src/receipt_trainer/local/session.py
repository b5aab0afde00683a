"""The local session: one embedded AWS with a stack on it, which every command finds by the name `local`.

How it is found, what is asked of its control, and how a worker becomes one of its instances; `session_server` holds it.

A session has a folder of its user's alone. A lock beside it is held as long as the session's process lives, so that a
file that was left behind is distinguished from a running session.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.files import write_atomically
from receipt_trainer.local.emulator import ELSEWHERE, no_proxy, without_elsewhere

ENV_DIR: Final = "RECEIPT_TRAINER_LOCAL_DIR"
WORKERS: Final = "workers"
"""Folder of the workers' lock files, below the session's own."""
TIMEOUT_S: Final = 10.0
LOOK_S: Final = 2.0
START: Final = "receipt-trainer local up"
_LOCK: Final = "lock"
_SESSION: Final = "session"
_FILE: Final = "session.json"
_LOCK_S: Final = 0.5
_LOOK_LOCK_S: Final = 0.05
"""A process that looks whether the lock is held holds it for a moment, which must not pass for a session."""
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
    control_url: str = Field(description="URL of the session's own control; see `receipt_trainer.local.session_server`")
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

    def is_live(self, root: Path | None = None) -> bool:
        """Whether it is this session that runs."""
        root = root or home()
        found = _read(root) if is_held(root) else None
        return found is not None and found.session_id == self.session_id


def home() -> Path:
    """Where the user's session is: RECEIPT_TRAINER_LOCAL_DIR, or a folder among the user's state."""
    if given := os.environ.get(ENV_DIR):
        return Path(given).absolute()
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "receipt-trainer" / "local"


def folder(root: Path | None = None) -> Path:
    """The session's own folder, which goes with it: checkpoints of its workers are below it."""
    return (root or home()) / _SESSION


def find(root: Path | None = None) -> Session | None:
    """The session that runs, or None; one that is still starting counts as none."""
    root = root or home()
    return _read(root) if is_held(root) else None


def require(root: Path | None = None) -> Session:
    """The session that runs.

    Raises:
        UserError: there is none; the message says what to do.
    """
    root = root or home()
    found = find(root)
    if found is not None:
        return found
    if is_held(root):
        raise UserError("the local session is still starting; try again in a moment")
    left = _read(root)
    if left is not None:
        raise UserError(f"the local session of process {left.pid} has died; start another one with: {START}")
    raise UserError(f"no local session is running; start one with: {START}")


def write(session: Session, root: Path) -> None:
    """Announce the session, atomically and to its user alone."""
    path = folder(root) / _FILE
    write_atomically(path, session.model_dump_json(indent=1).encode())
    path.chmod(0o600)  # its folder admits no other user meanwhile


def _read(root: Path) -> Session | None:
    try:
        return Session.model_validate_json((folder(root) / _FILE).read_bytes())
    except (OSError, ValidationError):
        return None


@contextmanager
def own(root: Path) -> Iterator[Path]:
    """Hold the user's one session: its empty folder, which is removed again afterwards.

    Raises:
        UserError: a session runs already, or the folder cannot be written.
    """
    lock = FileLock(root / _LOCK, timeout=_LOCK_S)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        found = _read(root)
        who = f" (process {found.pid})" if found else ""
        raise UserError(f"a local session is running already{who}; end it with: receipt-trainer local down") from None
    except OSError as error:
        raise UserError(f"{root}: cannot write there: {error.strerror}; {ENV_DIR} names another folder") from None
    try:
        shutil.rmtree(folder(root), ignore_errors=True)  # of a session that died
        folder(root).mkdir(mode=0o700)
        yield folder(root)
    finally:
        clear(root)
        lock.release()


def clear(root: Path) -> None:
    """Remove what a session has left; the caller holds its lock, or no process does."""
    shutil.rmtree(folder(root), ignore_errors=True)
    for _ in range(3):  # a process that looks whether the lock is held may make the file anew
        (root / _LOCK).unlink(missing_ok=True)
        with suppress(OSError):  # something of the user's is there
            root.rmdir()
            return


def is_held(root: Path) -> bool:
    """Whether a session's process lives there."""
    return is_locked(root / _LOCK)


def is_locked(path: Path) -> bool:
    """Whether a process holds this file's lock."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=_LOOK_LOCK_S, poll_interval=_LOOK_LOCK_S / 5):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def aws_cli() -> str:
    """The AWS CLI of local workers: the named one, the system's, else the one installed beside our own commands."""
    beside = Path(sys.executable).with_name("aws")
    if given := os.environ.get(names.ENV_AWS_CLI):
        return given
    return str(beside) if not Path(names.DEFAULT_AWS_CLI).exists() and beside.exists() else names.DEFAULT_AWS_CLI


def launch(session: Session, pid: int, lock: str) -> tuple[str, str]:
    """A new instance of the session: its id and the URL of its metadata service; faults as `ask`."""
    made = ask(session, "POST", "/instances", json.dumps({"pid": pid, "lock": lock}))
    return made["instance_id"], made["url"]


def instances(session: Session) -> list[dict[str, Any]]:
    """See `Machines.rows`; faults as `ask`."""
    return list(ask(session, "GET", "/instances"))


def interrupt(session: Session, instance_id: str, kind: str, warning_s: float) -> None:
    """See `Machines.interrupt`; faults as `ask`."""
    ask(session, "PUT", f"/instances/{quote(instance_id, safe='')}/notices/{kind}", f"{warning_s:g}")


def end(session: Session) -> None:
    """Ask the session to end; it does so after this call has returned. Faults as `ask`."""
    ask(session, "POST", "/end")


def ask(session: Session, method: str, path: str, body: str = "") -> Any:
    """One request to a session's control.

    Raises:
        WorldError: it does not answer.
        UserError: it refuses.
    """
    parts = urlsplit(session.control_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)  # never by a proxy
    try:
        connection.request(method, path, body.encode())
        response = connection.getresponse()
        status, value = response.status, json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WorldError(f"the local session does not answer at {session.control_url}: {error}") from None
    finally:
        connection.close()
    if status != 200:
        raise UserError(f"the local session refuses: {value.get('error')}")
    return value


@contextmanager
def join(session: Session) -> Iterator[str]:
    """The URL of the metadata service of a new instance that is this process, as long as the block lasts.

    Raises:
        WorldError: the session does not answer.
    """
    path = folder() / WORKERS / f"{os.getpid()}-{secrets.token_hex(4)}.lock"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with FileLock(path):
        try:
            yield launch(session, os.getpid(), path.name)[1]
        finally:
            path.unlink(missing_ok=True)


class Lifeline:
    """A thread that looks whether the session lives; a context manager."""

    def __init__(self, session: Session, on_gone: Callable[[], None], *, interval_s: float = LOOK_S) -> None:
        """Start looking; `on_gone` is called once, in the thread."""
        self._session, self._on_gone, self._interval_s = session, on_gone, interval_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session-lifeline", daemon=True)

    def _run(self) -> None:
        while not self._closed.wait(self._interval_s):
            if not self._session.is_live():
                self._on_gone()
                return

    def __enter__(self) -> Lifeline:
        self._thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._closed.set()
        self._thread.join()
