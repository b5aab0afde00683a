"""Notices of the instance's end by the metadata service: it is taken, the group ends it, or it may be taken some day.

Sources: EC2 User Guide, "Spot Instance interruption notices" and "EC2 instance rebalance recommendations"; EC2 Auto
Scaling User Guide, "Retrieve the target lifecycle state through instance metadata".
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import structlog

from receipt_trainer.aws.imds import Imds
from receipt_trainer.contract.tables import moment
from receipt_trainer.errors import WorldError

POLL_S: Final = 2.0
"""A notice comes two minutes before the end; the worker must notice it within five seconds."""

ACTION: Final = "spot/instance-action"
REBALANCE: Final = "events/recommendations/rebalance"
LIFECYCLE: Final = "autoscaling/target-lifecycle-state"

Kind = Literal["spot", "lifecycle", "signal"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Interruption:
    """Why the worker has to go, in one line for the job's row, and when the instance is taken, where that is known."""

    kind: Kind
    reason: str
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """EC2's rebalance recommendation: the instance is taken sooner than others, or never. No end by itself."""

    reason: str


def look(imds: Imds) -> Interruption | Advice | None:
    """Ask once for all three; advice only where nothing has to be obeyed. WorldError: the service cannot be asked."""
    notice = imds.get(ACTION)
    if notice is not None:
        said = _json(notice)
        action, deadline = said.get("action", "terminate"), moment(said.get("time"))
        if action != "hibernate":  # the memory is kept, and the worker continues where it was
            return Interruption("spot", f"spot notice: {action} at {said.get('time', 'once')}", deadline)
    if imds.get(LIFECYCLE) == "Terminated":
        return Interruption("lifecycle", "the Auto Scaling group ends this instance")
    advice = imds.get(REBALANCE)
    if advice is not None:
        return Advice(f"rebalance recommendation of {_json(advice).get('noticeTime', 'now')}")
    return None


def _json(text: str) -> dict[str, Any]:
    """A notice is a notice, also where its details cannot be read."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


class Watch:
    """A thread that looks every `interval_s` seconds until it finds an interruption or is closed.

    Both are called in the thread, at most once: `advise`, and then perhaps `notify`.
    """

    def __init__(
        self,
        imds: Imds,
        notify: Callable[[Interruption], None],
        advise: Callable[[Advice], None],
        *,
        interval_s: float = POLL_S,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._imds, self._notify, self._advise, self._interval_s = imds, notify, advise, interval_s
        self._is_advised = False
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._complained = False
        self._thread = threading.Thread(target=self._run, name="interruption-watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.is_set():
            found = self._look()
            if isinstance(found, Interruption):
                self._notify(found)
                return
            if found is not None and not self._is_advised:
                self._is_advised = True
                self._advise(found)
            if self._wait(self._interval_s):
                return

    def _look(self) -> Interruption | Advice | None:
        try:
            found = look(self._imds)
        except WorldError as error:
            if not self._complained:
                _log.warning("interruptions cannot be seen", error=str(error))
            self._complained = True
            return None
        self._complained = False
        return found

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join()
