"""A worker process with short times, to be frozen: `frozen_worker.py QUEUE_URL JOBS_TABLE FOLDER COMMAND...`."""

import sys
from pathlib import Path

from tests.worker.bench import Bench


def main() -> None:
    queue_url, jobs_table, folder, *command = sys.argv[1:]
    bench = Bench(queue_url, jobs_table, Path(), Path(folder), command)
    bench.worker("frozen", lease_s=3, lease_margin_s=1.0, visibility_s=4, beat_s=0.5).run()


if __name__ == "__main__":
    main()
