"""`start-worker` on a machine with a wrong clock: `skewed_worker SECONDS COMMAND-AS-JSON ARGUMENTS...`."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

from receipt_trainer.worker import loop, settings
from tests.worker.wrong_clock import skew


def main() -> None:
    skew(float(sys.argv.pop(1)))
    own: Any = loop
    own.Worker = partial(loop.Worker, command=tuple(json.loads(sys.argv.pop(1))))
    times: Any = settings
    times.WorkerSettings = partial(settings.WorkerSettings, poll_s=1)
    from receipt_trainer.cli.commands.worker import command
    from receipt_trainer.cli.lazy import run

    run(command)


if __name__ == "__main__":
    main()
