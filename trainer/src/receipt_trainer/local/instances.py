"""The stand-ins of instances: each local worker is one, with a metadata service of its own.

A notice is for one instance, and an instance is one worker: whoever comes after it is another instance, and calm.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from receipt_trainer.local.imds import SPOT_WARNING_S, ImdsStandIn
from receipt_trainer.local.session import is_locked

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
