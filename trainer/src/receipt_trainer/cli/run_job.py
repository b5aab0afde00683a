"""A whole run on this machine: data, training, report, upload."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from receipt_trainer.cli.quiet import quiet_libraries, reading_progress
from receipt_trainer.config import DataConfig, TrainingConfig
from receipt_trainer.contract import names
from receipt_trainer.contract.env import WorkerEnv
from receipt_trainer.contract.ports import ArtifactSink, MetricsSink, NoMetrics
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.errors import UserError, WorldError


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where a run's data comes from and where its results go; see the flags of `layoutlm-cli train`."""

    job_name: str | None
    model: str
    output_dir: Path | None
    receipts_table: str | None
    jobs_table: str | None
    artifacts_bucket: str | None
    snapshot_save: Path | None
    snapshot_load: Path | None
    restart: bool
    progress: bool


def run_job(options: RunOptions, training: TrainingConfig, data: DataConfig) -> None:
    """Train and leave everything of the run in its folder, and in S3 and the jobs table where they are named.

    Raises:
        UserError, WorldError: as the parts say.
    """
    quiet_libraries()
    console = Console()
    name = options.job_name or datetime.now(UTC).strftime("run-%Y%m%d-%H%M%S")
    if not names.is_job_name(name):
        raise UserError(f"--job-name '{name}': use 1 to 64 of A-Z a-z 0-9 . _ - and not '.' or '..'")
    run_dir = options.output_dir or Path(names.DEFAULT_OUTPUT_ROOT) / name
    artifacts = _artifacts(options, name)
    with _own(run_dir, options.restart):
        earlier = _earlier(run_dir)
        if earlier is not None and earlier.status == "complete":
            _deliver_again(earlier, run_dir, artifacts, console)
            return
        job_id = earlier.job_id if earlier is not None else str(uuid.uuid4())
        sink = _sink(options, job_id)
        try:
            record = _train(options, training, data, name, job_id, run_dir, sink, console)
        except (UserError, WorldError, KeyboardInterrupt) as error:
            sink.log("error", str(error) or "interrupted from the keyboard")
            _close_quietly(sink)
            raise
        except BaseException as error:
            sink.log("error", repr(error))
            _fail(run_dir, repr(error))
            _close_quietly(sink)
            raise
        _deliver(record, run_dir, artifacts, sink, console)


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
    from receipt_trainer.train.model import load_tokenizer, resolve
    from receipt_trainer.train.run import RunRequest, resolve_defaults, train

    start = resolve(options.model)
    tokenizer = load_tokenizer(start)
    if options.snapshot_load:
        prepared = snapshot.load(options.snapshot_load, data, tokenizer_hash(tokenizer))
    else:
        with reading_progress(console, options.progress) as progress:
            prepared = prepare(data, tokenizer, table=options.receipts_table, progress=progress)
    if options.snapshot_save:
        snapshot.save(prepared, data, options.snapshot_save)
    sides = prepared.counts["train"], prepared.counts["validation"]
    console.print(
        f"{sides[0]['receipts']} receipts to train on ({sides[0]['examples']} examples, {sides[0]['tokens']} tokens), "
        f"{sides[1]['receipts']} to validate; {len(prepared.space.labels)} labels; model {options.model}",
        highlight=False,
    )
    for problem in prepared.counts["problems"].values():
        verb = "left out" if problem["dropped"] else "noted"
        console.print(f"{problem['count']} {verb}: {problem['examples'][0]}", markup=False, highlight=False)
    resolved = resolve_defaults(training, data, start)
    request = RunRequest(name, job_id, start, resolved, data, run_dir)
    return train(request, prepared, tokenizer, sink=sink, console=console)


def _deliver(
    record: RunRecord, run_dir: Path, artifacts: ArtifactSink | None, sink: MetricsSink, console: Console
) -> None:
    """Report, then the record as complete, then S3: what says `complete` comes after all that it speaks of."""
    if int(os.environ.get("RANK", "0")) != 0:
        return
    from receipt_trainer.report.build import load_run, write_html
    from receipt_trainer.report.terminal import print_report

    record.status = "complete"
    folder = replace(load_run(run_dir), record=record)
    report = write_html(run_dir, folder)
    record.write(run_dir / names.RUN_FILE)
    print_report(record, folder.predictions, console)
    where = f"{run_dir}"
    if artifacts is not None:
        where += f" and {artifacts.upload(run_dir)}"
    sink.log("info", f"run complete: f1 {record.overall.f1 if record.overall else float('nan'):.4f}; files in {where}")
    sink.close()
    console.print(f"files: {where}\nreport: {report}", highlight=False, soft_wrap=True)


def _artifacts(options: RunOptions, name: str) -> ArtifactSink | None:
    if not options.artifacts_bucket:
        return None
    from receipt_trainer.aws.artifacts import S3Artifacts

    env = WorkerEnv.read(os.environ)
    artifacts = S3Artifacts(options.artifacts_bucket, f"runs/{name}", cli=env.aws_cli)
    artifacts.check()
    return artifacts


def _sink(options: RunOptions, job_id: str) -> MetricsSink:
    if not options.jobs_table or int(os.environ.get("RANK", "0")) != 0:
        return NoMetrics()
    from receipt_trainer.aws.clients import dynamodb
    from receipt_trainer.jobs.store import JobStore

    return JobStore(dynamodb(), options.jobs_table, job_id)


def _close_quietly(sink: MetricsSink) -> None:
    """The fault that ends the run is the one to report; rows that could not be written come second."""
    try:
        sink.close()
    except WorldError as error:
        Console(stderr=True).print(f"also: {error}", markup=False, highlight=False)


def _fail(run_dir: Path, error: str) -> None:
    path = run_dir / names.RUN_FILE
    if path.is_file():
        record = RunRecord.load(path)
        record.status, record.error = "failed", error
        record.write(path)


@contextmanager
def _own(run_dir: Path, restart: bool) -> Iterator[None]:
    """Hold the run's folder against other processes.

    Raises:
        UserError: another process holds it, or it cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock: Any = (run_dir / ".lock").open("a")
    except OSError as error:
        raise UserError(f"{run_dir}: cannot write there: {error.strerror}") from None
    with lock:
        if int(os.environ.get("RANK", "0")) == 0:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(f"{run_dir}: another process is training there") from None
        if restart:
            _clear(run_dir)
        yield


def _earlier(run_dir: Path) -> RunRecord | None:
    """The record of the run that the folder holds.

    Raises:
        UserError: there is a run.json that is none.
    """
    path = run_dir / names.RUN_FILE
    if not path.is_file():
        return None
    try:
        return RunRecord.load(path)
    except ValueError:
        raise UserError(f"{path} is no run record; use another --job-name, or --restart to start over") from None


def _deliver_again(record: RunRecord, run_dir: Path, artifacts: ArtifactSink | None, console: Console) -> None:
    """A complete run is not trained again; its upload may have failed, so that is repeated."""
    if artifacts is None:
        raise UserError(
            f"{run_dir} holds the complete run '{record.job_name}'; use another --job-name, or --restart to start over"
        )
    console.print(
        f"'{record.job_name}' is complete; its files are in {run_dir} and {artifacts.upload(run_dir)}",
        highlight=False,
        soft_wrap=True,
    )


def _clear(run_dir: Path) -> None:
    """Remove what a run writes, and nothing else; the record goes first."""
    for name in (names.RUN_FILE, names.REPORT_FILE, names.PREDICTIONS_FILE):
        (run_dir / name).unlink(missing_ok=True)
    for path in [run_dir / names.MODEL_DIR, run_dir / "tensorboard", *run_dir.glob("checkpoint-*")]:
        if path.is_dir():
            shutil.rmtree(path)
