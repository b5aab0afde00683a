"""The times of the chaos test's workers: a thirtieth of the real ones, so that a lost lease is not a matter of minutes.

The look for spot notices (2 s) and the time for a last checkpoint (40 s) stay as they are: what is measured from a
notice to the released message is what an instance takes.

On a slow machine they are stretched: a lease shorter than its worker needs for a heartbeat, or its training process for
the epoch to the next checkpoint, is lost again and again, and no job ends.
"""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import Any, Final

from tests.chaos.plan import SKEW_S
from tests.worker.wrong_clock import skew

LEASE_S: Final = 8
VISIBILITY_S: Final = 10
BEAT_S: Final = 2.0
IDLE_S: Final = 30.0
STRETCH: Final = "CHAOS_STRETCH"
"""In the environment of the test and of its workers: by how much the machine is too slow for these times."""


def stretched(seconds: float) -> float:
    """So many seconds of a machine that is fast enough."""
    return seconds * float(os.environ.get(STRETCH, "1"))


def stretch(job_s: float) -> None:
    """From now on a lease lasts at least as long as a whole job does that nobody disturbs."""
    os.environ[STRETCH] = str(max(1.0, job_s / LEASE_S))


def settings() -> dict[str, Any]:
    """Of the workers."""
    return {
        "lease_s": int(stretched(LEASE_S)),
        "visibility_s": int(stretched(VISIBILITY_S)),
        "lease_margin_s": stretched(1.0),
        "beat_s": BEAT_S,
        "poll_s": 1,
        "retry_delay_s": 2,
    }


def shorten_requests() -> None:
    """A request that fails is tried once more, not five times: leases are short here."""
    os.environ["AWS_MAX_ATTEMPTS"] = "2"


def shorten_worker() -> None:
    """Give the worker of this process the short times, and let SIGUSR1 and SIGUSR2 move its clock."""
    from receipt_trainer.cli.commands import worker as worker_command
    from receipt_trainer.worker import finalize, heartbeat, loop, shutdown
    from receipt_trainer.worker.settings import WorkerSettings

    shorten_requests()
    for module, name, value in (
        (loop, "FAULT_WAIT_S", 0.5),
        (finalize, "WAIT_S", 0.2),
        (shutdown, "ASK_WAIT_S", 0.5),
        (worker_command, "_require_mount", lambda folder, wanted: None),  # a member of a group, on this machine's disk
        (worker_command, "WorkerSettings", partial(WorkerSettings, **settings())),
    ):
        assert hasattr(module, name)
        setattr(module, name, value)
    defaults = heartbeat.Heartbeat.__init__.__kwdefaults__
    assert defaults is not None
    defaults["retry_s"] = 0.3
    signal.signal(signal.SIGUSR1, lambda *_: skew(SKEW_S))
    signal.signal(signal.SIGUSR2, lambda *_: skew(-SKEW_S))
