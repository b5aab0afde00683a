"""`receipt-trainer start-worker` with short times: `worker_process COMMAND-AS-JSON ARGUMENTS...`."""

from __future__ import annotations

import json
import sys

from tests.chaos import times


def main() -> None:
    times.shorten_worker(tuple(json.loads(sys.argv.pop(1))))
    from receipt_trainer.cli.lazy import run
    from receipt_trainer.cli.start_worker import command

    run(command)


if __name__ == "__main__":
    main()
