"""Jobs by the thousand: submitting, finding and working them off, and how each grows, on the embedded AWS.

    python -m benchmarks.jobs submit [--jobs 1000]
    python -m benchmarks.jobs find [--jobs 1000 --jobs 10000]
    python -m benchmarks.jobs work [--jobs 0 --jobs 1000 --jobs 10000]

Requests, rows and megabytes read are what DynamoDB and SQS would see and bill. Seconds are the emulator's and this
machine's: compare them with each other; AWS answers in some milliseconds however much a table holds.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from benchmarks.jobs_worker import measure_overhead
from receipt_trainer.aws import clients, dynamo
from receipt_trainer.config.job_file import read_job
from receipt_trainer.contract.names import ENV_JOBS_TABLE
from receipt_trainer.contract.tables import JOBS, attempt_sk, iso, job_pk
from receipt_trainer.errors import UserError
from receipt_trainer.fleet.spend import read_job_spend
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.rows import Wanted, find, job_id_of
from receipt_trainer.jobs.submit import new_job, submit
from receipt_trainer.local.emulator import LocalCloud

SPEC: Final = {
    "job_name": "bench",
    "model": "microsoft/layoutlm-base-uncased",
    "training_config": {"num_epochs": 10, "learning_rate": 3e-5},
    "data_config": {"dataset_name": "dynamodb"},
    "resources": {"pool": "gpu"},
}
SHARES: Final = {"SUCCEEDED": 85, "FAILED": 8, "CANCELLED": 4, "PENDING": 2, "RUNNING": 1}
"""Per cent of the jobs of a team that has used its table for a while."""
NOW: Final = datetime(2026, 12, 31, 12, tzinfo=UTC)
TODAY: Final = 20
"""Jobs that ended on the day of `NOW`; all others did before."""
STEPS: Final = (100, 300, 1000)
THREADS: Final = 8
THREADED: Final = 200


class Meter:
    """Counts and clocks requests of clients, by botocore's own events, and the rows that DynamoDB looked at."""

    def __init__(self, *of: Any) -> None:
        self.requests: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.num_read = 0
        self._lock = threading.Lock()
        self._began = threading.local()
        for client in of:
            client.meta.events.register("before-call.*.*", self._asked)
            client.meta.events.register("after-call.*.*", self._answered)

    def _asked(self, **_: Any) -> None:
        self._began.at = time.perf_counter()

    def _answered(self, model: Any, parsed: dict[str, Any], **_: Any) -> None:
        with self._lock:
            self.requests[model.name] += 1
            self.seconds[model.name] += time.perf_counter() - self._began.at
            self.num_read += parsed.get("ScannedCount", 0)


def make_queue(cloud: LocalCloud) -> str:
    """A FIFO queue of its own."""
    made = cloud.client("sqs").create_queue(QueueName=f"{uuid4().hex[:8]}.fifo", Attributes={"FifoQueue": "true"})
    return str(made["QueueUrl"])


def make_table(cloud: LocalCloud) -> str:
    """An empty jobs table of its own."""
    name = f"bench-{uuid4().hex[:8]}"
    cloud.client("dynamodb").create_table(**JOBS.create_arguments(name))
    return name


def benchmark_submit(cloud: LocalCloud, num_jobs: int) -> Table:
    """One after the other, up to `num_jobs`; then some more by threads."""
    table, url = make_table(cloud), make_queue(cloud)
    dynamodb, sqs = clients.dynamodb(), clients.sqs()
    meter, spec = Meter(dynamodb, sqs), read_job(SPEC, "benchmark")
    jobs, queue = JobTable(dynamodb, table), SqsQueue(sqs, url)
    shown = Table("jobs in the table", "way", title=f"submitting {num_jobs} jobs")
    parts = ("TransactWriteItems", "SendMessage")
    for name in ("seconds", "requests a job", "ms a job", *(f"ms {part}" for part in parts)):
        shown.add_column(name, justify="right")

    def one(_: int) -> Job:
        return submit(new_job(spec, url), jobs, queue)

    def add(before: int, upto: int, way: str, run: Callable[[range], object]) -> None:
        meter.requests.clear()
        meter.seconds.clear()
        start = time.perf_counter()
        run(range(before, upto))
        seconds, count = time.perf_counter() - start, upto - before
        of_parts = (f"{meter.seconds[part] / count * 1000:.1f}" for part in parts)
        each = (f"{meter.requests.total() / count:.2f}", f"{seconds / count * 1000:.1f}")
        shown.add_row(f"{before} to {upto}", way, f"{seconds:.1f}", *each, *of_parts)

    before = 0
    for upto in [*(step for step in STEPS if step < num_jobs), num_jobs]:
        add(before, upto, "one by one", lambda numbers: [one(number) for number in numbers])
        before = upto
    with ThreadPoolExecutor(THREADS) as pool:
        add(before, before + THREADED, f"{THREADS} threads", lambda numbers: list(pool.map(one, numbers)))
    shown.caption = "the emulator's SQS counts all messages of a queue at every request; AWS's does not"
    return shown


def fill(table: str, num_jobs: int) -> list[dict[str, Any]]:
    """Jobs of the last months, as they are stored; returns their rows."""
    rng, spec = random.Random(1), read_job(SPEC, "benchmark")
    states = rng.choices(list(SHARES), list(SHARES.values()), k=num_jobs)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    like = new_job(spec, "https://queue.fifo")
    rows: list[dict[str, Any]] = []
    attempts: list[dict[str, Any]] = []
    for number, status in enumerate(states):
        own = {name: getattr(like, name) for name in Job.__slots__}
        created = iso(began + timedelta(minutes=number))
        known = {"job_id": str(uuid4()), "name": f"sweep-{number % 100}", "status": status, "created_at": created}
        is_of_today = status == "SUCCEEDED" and number >= num_jobs - TODAY
        changed = iso(NOW - timedelta(hours=1)) if is_of_today else created
        pool = {"pool": "cpu" if number % 10 == 0 else "gpu", "version": 1, "attempt": 1, "updated_at": changed}
        rows.append(Job(**(own | known | pool)).to_row())
        if is_of_today or status == "RUNNING":
            began_at = {"started_at": iso(NOW - timedelta(hours=2)), "price_usd_per_h": 1.0}
            attempts.append({"PK": job_pk(known["job_id"]), "SK": attempt_sk(1), "attempt": 1, **began_at})
    dynamo.batch_write(clients.dynamodb(), table, "fill", puts=[*rows, *attempts])
    return rows


def benchmark_find(cloud: LocalCloud, sizes: Sequence[int], repeats: int) -> Table:
    """Every way to look for jobs, at each size."""
    shown = Table("what", title=f"finding jobs; medians of {repeats}")
    for size in sizes:
        for name in ("found", "requests", "rows read", "MB read", "ms"):
            shown.add_column(f"{size}: {name}" if name == "found" else name, justify="right")
    figures: dict[str, list[str]] = {}
    for size in sizes:
        table = make_table(cloud)
        rows = fill(table, size)
        row_bytes = statistics.mean(len(str(dynamo.serialise(row))) for row in rows[:100])
        middle = rows[size // 2]
        for name, look in _searches(table, middle).items():
            found, meter, seconds = _timed(look, repeats)
            megabytes = meter.num_read / repeats * row_bytes / 1e6
            counts = (found, meter.requests.total() / repeats, meter.num_read / repeats)
            figures.setdefault(name, []).extend(
                [*(f"{count:,.0f}" for count in counts), f"{megabytes:.2f}", f"{seconds * 1000:.0f}"]
            )
    for name, values in figures.items():
        shown.add_row(name, *values)
    return shown


def _searches(table: str, middle: dict[str, Any]) -> dict[str, Callable[[Any], int]]:
    def listed(wanted: Wanted, limit: int | None = None) -> Callable[[Any], int]:
        return lambda client: len(find(dynamo.Table(client, table), wanted, limit))

    def called(text: str) -> Callable[[Any], int]:
        return lambda client: len([job_id_of(dynamo.Table(client, table), text)])

    since = datetime.fromisoformat(middle["created_at"])
    return {
        "newest 20": listed(Wanted(), 20),
        "all": listed(Wanted()),
        "newest 20 RUNNING": listed(Wanted(status="RUNNING"), 20),
        "all SUCCEEDED": listed(Wanted(status="SUCCEEDED")),
        "newest 20 of the cpu pool": listed(Wanted(pool="cpu"), 20),
        "all of a name": listed(Wanted(name=middle["name"])),
        "newest 20 RUNNING of a name": listed(Wanted(status="RUNNING", name=middle["name"]), 20),
        "newest 20 of the newer half": listed(Wanted(since=since), 20),
        "one by its id": called(middle["job_id"]),
        "one by 8 characters of its id": called(middle["job_id"][:8]),
        "none, by 8 characters of an id": _mistyped(table),
        "those of today, for `fleet`": lambda client: len(read_job_spend(dynamo.Table(client, table), NOW)),
    }


def _mistyped(table: str) -> Callable[[Any], int]:
    def look(client: Any) -> int:
        try:
            job_id_of(dynamo.Table(client, table), "mistyped")
        except UserError:
            return 0
        raise AssertionError("a job was found")

    return look


def _timed(look: Callable[[Any], int], repeats: int) -> tuple[int, Meter, float]:
    client = clients.dynamodb()
    meter, seconds, found = Meter(client), [], 0
    for _ in range(repeats):
        start = time.perf_counter()
        found = look(client)
        seconds.append(time.perf_counter() - start)
    return found, meter, statistics.median(seconds)


def benchmark_work(cloud: LocalCloud, sizes: Sequence[int], repeats: int) -> Table:
    """Measure the cost of a job beside its training, by the number of jobs that the table holds."""
    shown = Table("part", title=f"a job of one step; medians of {repeats} jobs, seconds")
    columns = {}
    for size in sizes:
        shown.add_column(f"{size} jobs before", justify="right")
        table = make_table(cloud)
        os.environ[ENV_JOBS_TABLE] = table
        fill(table, size)
        columns[size] = measure_overhead(table, make_queue(cloud), repeats)
    for part in next(iter(columns.values())):
        shown.add_row(part, *(columns[size][part] for size in sizes))
    return shown


def main() -> None:
    """Run one of the three and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["submit", "find", "work"])
    parser.add_argument(
        "--jobs", type=int, action="append", help="submit: how many; else: in the table, may be repeated"
    )
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with LocalCloud(prefix="bench-") as cloud:
        environment = cloud.applied_to(os.environ)
        os.environ.clear()
        os.environ.update(environment)
        if options.what == "submit":
            shown = benchmark_submit(cloud, max(options.jobs or [1000]))
        elif options.what == "find":
            shown = benchmark_find(cloud, options.jobs or [1000, 10_000], options.repeats)
        else:
            shown = benchmark_work(cloud, options.jobs or [0, 1000, 10_000], options.repeats)
    Console(width=170).print(shown)


if __name__ == "__main__":
    main()
