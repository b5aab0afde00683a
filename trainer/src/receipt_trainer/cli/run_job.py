"""A whole run on this machine: data, training, report, upload."""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from receipt_trainer.cli import run_delivery, run_folder, run_rows
from receipt_trainer.cli.logging_setup import quiet_libraries, reading_progress
from receipt_trainer.config import DataConfig, TrainingConfig
from receipt_trainer.contract import names
from receipt_trainer.contract.interruption import Interrupted, StopRequest
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.sinks import MetricsSink
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.training import distributed

if TYPE_CHECKING:
    from receipt_trainer.data.prepare import Prepared


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where a run's data comes from and where its results go; see the flags of `layoutlm-cli train`.

    Attributes:
        job_id: set by a worker, which then owns the job's row; the run itself writes metrics and log only.
        attempt: the worker's claim that these rows belong to.
        stop: asks the run to stop.
        save_interval_s: see `RunRequest`.
    """

    job_name: str
    model: str
    output_dir: Path | None
    receipts_table: str | None
    jobs_table: str | None
    artifacts_bucket: str | None
    snapshot_save: Path | None
    snapshot_load: Path | None
    restart: bool
    progress: bool
    job_id: str | None = None
    attempt: int | None = None
    stop: StopRequest = field(default_factory=StopRequest)
    save_interval_s: float = 0.0


def run_job(options: RunOptions, training: TrainingConfig, data: DataConfig) -> None:
    """Train and leave everything of the run in its folder, and in S3 and the jobs table where they are named.

    Raises:
        UserError, WorldError: as the parts say.
        Interrupted: `options.stop` was asked.
    """
    quiet_libraries()
    from receipt_trainer.training import hardware

    if distributed.count() > 1:
        distributed.join(hardware.use_cuda(training))
    try:
        _run_job(options, training, data, Console(quiet=not distributed.is_main()))
    finally:
        distributed.leave()


def _run_job(options: RunOptions, training: TrainingConfig, data: DataConfig, console: Console) -> None:
    name = options.job_name
    run_dir = options.output_dir or Path(names.DEFAULT_OUTPUT_ROOT) / name
    _require_report()
    with run_folder.own(run_dir):
        earlier = None if options.restart else run_folder.earlier(run_dir)
        job_id = options.job_id or (earlier.job_id if earlier is not None else str(uuid.uuid4()))
        artifacts = run_delivery.open_artifacts(options, job_id)
        if earlier is not None and earlier.status == "complete":
            if distributed.is_main():
                loaded = data if options.snapshot_load is None else None
                run_folder.require_same(earlier, run_dir, options.model, training, loaded)
                run_rows.fill_gaps(options, job_id)
                run_delivery.deliver_again(earlier, run_dir, artifacts, console, is_asked=options.job_id is not None)
            return
        sink = run_rows.open_sink(options, job_id)
        try:
            record = _train(options, training, data, name, job_id, run_dir, sink, console)
            run_delivery.deliver(options, record, run_dir, artifacts, sink, console)
        except KeyboardInterrupt:
            run_rows.end(options, job_id, sink, "INTERRUPTED", "interrupted from the keyboard")
            raise
        except Interrupted as interrupted:
            run_rows.end(options, job_id, sink, "INTERRUPTED", str(interrupted))
            raise
        except BaseException as error:
            reason = str(error) if isinstance(error, UserError | WorldError) else repr(error)
            if not isinstance(error, UserError):  # a mistake in this call says nothing of the run in the folder
                run_folder.fail(run_dir, reason)
            run_rows.end(options, job_id, sink, "FAILED", reason)
            raise
        run_rows.put_job(options, job_id, "SUCCEEDED")
        sink.close()


def _train(
    options: RunOptions,
    training: TrainingConfig,
    data: DataConfig,
    name: str,
    job_id: str,
    run_dir: Path,
    sink: MetricsSink,
    console: Console,
) -> RunRecord:
    from receipt_trainer.data import snapshot
    from receipt_trainer.data.prepare import prepare, tokenizer_hash
    from receipt_trainer.models.layoutlm.model import load_tokenizer, resolve
    from receipt_trainer.training.run import RunRequest, resolve_defaults, train

    start = resolve(options.model)
    tokenizer = load_tokenizer(start)
    if options.snapshot_load:
        prepared = snapshot.load(options.snapshot_load, data, tokenizer_hash(tokenizer))
        data = data.model_copy(update=prepared.origin)
    else:
        with reading_progress(console, options.progress) as progress:
            prepared = prepare(data, tokenizer, table=options.receipts_table, progress=progress)
    if options.snapshot_save and distributed.is_main():
        _save_snapshot(prepared, data, options.snapshot_save)
    for line in _told(prepared, options.model):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
        sink.log("info", line)
    if options.restart:
        if start.path and Path(start.path).resolve().is_relative_to(run_dir.resolve()):
            raise UserError(f"--restart would delete the model to start from, {start.path}; use another --job-name")
        if distributed.is_main():
            run_folder.clear(run_dir)
        distributed.wait_for_all()
    resolved = resolve_defaults(training, data, start)
    request = RunRequest(name, job_id, start, resolved, data, run_dir, options.stop, options.save_interval_s)
    return train(request, prepared, tokenizer, sink=sink, console=console)


def _told(prepared: Prepared, model: str) -> Iterator[str]:
    """What a person wants to know of the data before training."""
    sides = prepared.counts["train"], prepared.counts["validation"]
    yield (
        f"{sides[0]['receipts']} receipts to train on ({sides[0]['examples']} examples, {sides[0]['tokens']} tokens), "
        f"{sides[1]['receipts']} to validate; {len(prepared.space.labels)} labels; model {model}"
    )
    if left_out := prepared.counts.get("receipts_left_out_by_split"):
        yield f"{left_out} labelled receipts are on neither side: near duplicates of held-out ones, or elsewhere"
    for problem in prepared.counts["problems"].values():
        verb = "left out" if problem["dropped"] else "noted"
        yield f"{problem['count']} {verb}: {problem['examples'][0]}"


def _save_snapshot(prepared: Prepared, data: DataConfig, directory: Path) -> None:
    """Save it; where an interrupted run of the same data has saved it already, leave it.

    Raises:
        UserError: something else is there.
    """
    from receipt_trainer.data import snapshot

    if (directory / snapshot.META).is_file():
        try:
            there = snapshot.load(directory, data, prepared.tokenizer_hash)
        except UserError:
            there = None
        if there is not None and snapshot.fingerprint(there) == snapshot.fingerprint(prepared):
            return
    snapshot.save(prepared, data, directory)


def _require_report() -> None:
    """The report comes after hours of training: what it needs is looked for before.

    Raises:
        UserError: it is not installed.
    """
    for package in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"the report needs {package}: pip install 'receipt-trainer[train,report]'")
