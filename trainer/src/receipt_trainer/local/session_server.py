"""Holding a local session: the embedded AWS, the stack, the control, and the file by which others find them."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.local import session as sessions
from receipt_trainer.local.control_api import Control
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.instances import Machines
from receipt_trainer.local.worker_registration import WORKERS

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
        program: folder of the stack's program, to be told.
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
