"""What happened, as the test itself saw it: beside the rows that the workers wrote, and to compare with them."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Step:
    """A training process begins a step."""

    job_id: str
    attempt: int
    step: int
    pid: int
    worker: str
    at: float


@dataclass
class Injected:
    """A fault as it happened; times are seconds of the epoch.

    Attributes:
        worker: id of its instance; empty where none is concerned.
        attempt: the last that was claimed, 0 before the first.
        noticed_at: the worker's row says that it is about to go.
        released_at: the job's message was made visible again.
    """

    number: int
    kind: str
    job: str
    job_id: str
    worker: str
    attempt: int
    at: float
    noticed_at: float | None = None
    released_at: float | None = None


@dataclass
class Journal:
    """Filled by the stage's threads."""

    path: Path
    steps: list[Step] = field(default_factory=list)
    injected: list[Injected] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def say(self, **what: object) -> None:
        """A line of the journal's file, the evidence that stays after a failure."""
        with self.lock, self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"at": round(time.time(), 3), **what}, default=str) + "\n")

    def stepped(self, step: Step) -> None:
        """Remember a step."""
        with self.lock:
            self.steps.append(step)
        self.say(what="step", **{name: value for name, value in asdict(step).items() if name != "at"})

    def hit(self, injected: Injected) -> Injected:
        """Remember a fault."""
        with self.lock:
            self.injected.append(injected)
        self.say(what="fault", **{name: value for name, value in asdict(injected).items() if name != "at"})
        return injected
