"""`start-worker` on a machine with a wrong clock: `skewed_worker SECONDS COMMAND-AS-JSON ARGUMENTS...`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import botocore.auth

from receipt_trainer.aws import server_time
from receipt_trainer.worker import loop, settings


def skew(seconds: float) -> None:
    """From now on this process's time of day is so far ahead: where requests are signed, and where we ask for it."""

    def now(remove_tzinfo: bool = True) -> datetime:
        found = datetime.now(UTC) + timedelta(seconds=seconds)
        return found.replace(tzinfo=None) if remove_tzinfo else found

    owner: Any = botocore.auth
    assert hasattr(owner, "get_current_datetime")
    owner.get_current_datetime = now
    clock: Any = server_time.SERVER_TIME
    assert hasattr(clock, "_machine")
    clock._machine = partial(now, remove_tzinfo=False)


def main() -> None:
    skew(float(sys.argv.pop(1)))
    own: Any = loop
    own.Worker = partial(loop.Worker, command=tuple(json.loads(sys.argv.pop(1))))
    times: Any = settings
    times.WorkerSettings = partial(settings.WorkerSettings, poll_s=1)
    from receipt_trainer.cli.lazy import run
    from receipt_trainer.cli.start_worker import command

    run(command)


if __name__ == "__main__":
    main()
