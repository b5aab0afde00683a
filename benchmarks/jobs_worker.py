"""Cost of a worker and its training process beside the training: part of `benchmarks.jobs`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.config.job_file import read_job
from receipt_trainer.contract.run_record import load_record
from receipt_trainer.data.sources.record import to_record
from receipt_trainer.data.synthetic import generate
from receipt_trainer.jobs.curves import read_curves
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.submit import new_job, submit
from receipt_trainer.jobs.views import read_past
from receipt_trainer.worker.child import COMMAND
from receipt_trainer.worker.loop import Worker
from receipt_trainer.worker.registry import WorkerMachine
from receipt_trainer.worker.settings import WorkerSettings

NOTHING: Final = """
import json, pathlib, sys
job = json.loads(pathlib.Path(sys.argv[2]).read_text())
folder = pathlib.Path(job["run_dir"])
folder.mkdir(parents=True)
folder.joinpath("run.json").write_text(pathlib.Path(sys.argv[1]).read_text())
"""
"""A training process that imports nothing and trains nothing: what is left is the worker's own."""

IMPORTS: Final = {
    "python": "pass",
    "its command": "import receipt_trainer.worker.main",
    "training (torch, transformers)": "import receipt_trainer.worker.main, receipt_trainer.models.layoutlm.family",
}


def measure_overhead(table: str, queue_url: str, repeats: int) -> dict[str, str]:
    """Seconds of each part, as medians."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        receipts = folder / "receipts.jsonl"
        lines = [json.dumps(to_record(receipt)) for receipt in generate(9, 7)]
        receipts.write_text("\n".join(lines) + "\n", encoding="utf-8")
        real = _work(table, queue_url, repeats, receipts, folder / "real", COMMAND)
        record = next((folder / "real").rglob("run.json"))
        script = (sys.executable, "-I", "-S", "-c", NOTHING, str(record))
        empty = _work(table, queue_url, repeats, receipts, folder / "empty", script)
    imports = {name: _median(_seconds_of(code) for _ in range(repeats)) for name, code in IMPORTS.items()}
    parts = {
        "whole job, from its message's receipt to the next": real["whole"],
        "    claim to RUNNING": real["start"],
        "    RUNNING to the end (training process)": real["child"],
        "        of it: steps, evaluation, checkpoint": real["trained"],
        "    the end to the next receipt": real["rest"],
        "whole job, training process that does nothing": empty["whole"],
        **{f"importing {name}": seconds for name, seconds in imports.items()},
    }
    return {name: f"{seconds:.3f}" for name, seconds in parts.items()} | {
        "worker's requests a job": f"{empty['requests']:.1f}"
    }


def _work(
    table: str, queue_url: str, repeats: int, receipts: Path, folder: Path, command: Sequence[str]
) -> dict[str, float]:
    """A worker over so many jobs of one step each."""
    dynamodb, sqs = clients.dynamodb(), clients.sqs()
    jobs, queue = JobTable(dynamodb, table), SqsQueue(sqs, queue_url)
    training = {"max_steps": 1, "precision": "fp32", "device": "cpu", "logging_steps": 1, "learning_rate": 1e-3}
    spec = {"job_name": "bench", "model": "tiny", "training_config": training}
    spec |= {"data_config": {"dataset_name": str(receipts)}, "resources": {"pool": "cpu"}}
    job_ids = [submit(new_job(read_job(spec, "benchmark"), queue_url), jobs, queue).job_id for _ in range(repeats)]
    received: list[float] = []
    num_requests = 0

    def answered(model: Any, parsed: Mapping[str, Any], **_: Any) -> None:
        nonlocal num_requests
        num_requests += 1
        if model.name == "ReceiveMessage":
            received.append(time.time())

    for client in (dynamodb, sqs):
        client.meta.events.register("after-call.*.*", answered)
    settings = WorkerSettings(checkpoints_dir=folder, jobs_table=table, poll_s=0, idle_timeout_s=0.0)
    with _quiet():
        Worker(settings, jobs, [queue], WorkerMachine("bench"), command=command).run()
    pasts = {job_id: _moments(dynamodb, table, job_id) for job_id in job_ids}
    order = sorted(pasts.values(), key=lambda moments: moments["CLAIMED"])
    records = [load_record(path) for path in folder.rglob("run.json")]
    if len(records) != repeats or any("SUCCEEDED" not in moments for moments in order):
        raise SystemExit("a job did not succeed")
    if command is COMMAND and not all(read_curves(Table(dynamodb, table), job_id) for job_id in job_ids):
        raise SystemExit("a job wrote no metrics")
    return {
        "whole": _median(after - before for before, after in pairwise(received)),
        "start": _median(one["RUNNING"] - one["CLAIMED"] for one in order),
        "child": _median(one["SUCCEEDED"] - one["RUNNING"] for one in order),
        "trained": _median(float(record.timings["train_s"]) for record in records),
        "rest": _median(after - one["SUCCEEDED"] for one, after in zip(order, received[1:], strict=True)),
        "requests": num_requests / repeats,
    }


class _quiet:  # noqa: N801 - reads as a word where it is used
    """Silence workers and training processes."""

    def __enter__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._kept = [os.dup(number) for number in (1, 2)]
        with Path(os.devnull).open("wb") as sink:
            for number in (1, 2):
                os.dup2(sink.fileno(), number)

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, kept in zip((1, 2), self._kept, strict=True):
            os.dup2(kept, number)
            os.close(kept)


def _moments(dynamodb: Any, table: str, job_id: str) -> dict[str, float]:
    """State -> when the job came to it, in seconds of the epoch."""
    past = read_past(Table(dynamodb, table), job_id, utc_now())
    return {row["to"]: datetime.fromisoformat(row["at"]).timestamp() for row in past.transitions}


def _seconds_of(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - start


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values))
