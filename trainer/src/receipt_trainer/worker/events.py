"""What can happen to an attempt, and how it can end."""

from __future__ import annotations

import queue as inboxes
from dataclasses import dataclass
from typing import Literal

from receipt_trainer.worker.interruptions import Advice, Interruption


@dataclass(frozen=True, slots=True)
class Exited:
    """The child has ended."""

    code: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease is another's, or may be."""

    reason: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody asked for the job's end."""


@dataclass(frozen=True, slots=True)
class Stalled:
    """The child gets on with nothing."""

    reason: str


Event = Exited | Lost | Cancelled | Stalled | Advice | Interruption
Inbox = inboxes.SimpleQueue[Event]
"""Whatever happens to an attempt comes here, from threads and from signal handlers alike."""

How = Literal["succeeded", "failed", "mistaken", "undelivered", "interrupted", "cancelled", "limited", "lost"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, and why in one line.

    Attributes:
        is_machines: it is rather the machine that failed than the job; of an undelivered run: this machine cannot
            deliver any, because it lacks the rights or an AWS CLI.
        is_stuck: not even SIGKILL has ended the process: this machine can train nothing more.
    """

    how: How
    reason: str = ""
    is_machines: bool = False
    is_stuck: bool = False
