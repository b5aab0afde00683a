"""`receipt-trainer start-worker` with short times: `worker_process COMMAND-AS-JSON ARGUMENTS...`."""

from __future__ import annotations

import json
import signal
import sys

from tests.chaos import times
from tests.chaos.plan import SKEW_S
from tests.worker.wrong_clock import skew


def main() -> None:
    times.shorten_worker(tuple(json.loads(sys.argv.pop(1))))
    signal.signal(signal.SIGUSR1, lambda *_: skew(SKEW_S))
    signal.signal(signal.SIGUSR2, lambda *_: skew(-SKEW_S))
    from receipt_trainer.cli.commands.worker import command
    from receipt_trainer.cli.lazy import run

    run(command)


if __name__ == "__main__":
    main()
