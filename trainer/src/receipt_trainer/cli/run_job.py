"""A whole run on this machine: data, training, report, upload."""

from __future__ import annotations

import importlib.util
import os
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from receipt_trainer.cli import run_folder, run_rows
from receipt_trainer.cli.quiet import quiet_libraries, reading_progress
from receipt_trainer.config import DataConfig, TrainingConfig
from receipt_trainer.contract import names
from receipt_trainer.contract.env import WorkerEnv
from receipt_trainer.contract.ports import ArtifactSink, MetricsSink
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.stopping import Interrupted, StopRequest
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.train import ranks

if TYPE_CHECKING:
    from receipt_trainer.data.prepare import Prepared


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where a run's data comes from and where its results go; see the flags of `layoutlm-cli train`.

    Attributes:
        job_id: set by a worker, which then owns the job's row; the run itself writes metrics and log only.
        attempt: the worker's claim that these rows belong to.
        stop: asks the run to stop.
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


def run_job(options: RunOptions, training: TrainingConfig, data: DataConfig) -> None:
    """Train and leave everything of the run in its folder, and in S3 and the jobs table where they are named.

    Raises:
        UserError, WorldError: as the parts say.
        Interrupted: `options.stop` was asked.
    """
    quiet_libraries()
    from receipt_trainer.train import hardware

    if ranks.count() > 1:
        ranks.join(hardware.use_cuda(training))
    try:
        _run_job(options, training, data, Console(quiet=not ranks.is_main()))
    finally:
        ranks.leave()


def _run_job(options: RunOptions, training: TrainingConfig, data: DataConfig, console: Console) -> None:
    name = options.job_name
    run_dir = options.output_dir or Path(names.DEFAULT_OUTPUT_ROOT) / name
    _require_report()
    with run_folder.own(run_dir):
        earlier = None if options.restart else run_folder.earlier(run_dir)
        job_id = options.job_id or (earlier.job_id if earlier is not None else str(uuid.uuid4()))
        artifacts = _artifacts(options, job_id)
        if earlier is not None and earlier.status == "complete":
            if ranks.is_main():
                loaded = data if options.snapshot_load is None else None
                run_folder.require_same(earlier, run_dir, options.model, training, loaded)
                _deliver_again(earlier, run_dir, artifacts, console, is_asked=options.job_id is not None)
            return
        sink = run_rows.open_sink(options, job_id)
        try:
            record = _train(options, training, data, name, job_id, run_dir, sink, console)
            _deliver(record, run_dir, artifacts, sink, console)
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
    from receipt_trainer.train.model import load_tokenizer, resolve
    from receipt_trainer.train.run import RunRequest, resolve_defaults, train

    start = resolve(options.model)
    tokenizer = load_tokenizer(start)
    if options.snapshot_load:
        prepared = snapshot.load(options.snapshot_load, data, tokenizer_hash(tokenizer))
        data = data.model_copy(update=prepared.origin)
    else:
        with reading_progress(console, options.progress) as progress:
            prepared = prepare(data, tokenizer, table=options.receipts_table, progress=progress)
    if options.snapshot_save and ranks.is_main():
        _save_snapshot(prepared, data, options.snapshot_save)
    sides = prepared.counts["train"], prepared.counts["validation"]
    console.print(
        f"{sides[0]['receipts']} receipts to train on ({sides[0]['examples']} examples, {sides[0]['tokens']} tokens), "
        f"{sides[1]['receipts']} to validate; {len(prepared.space.labels)} labels; model {options.model}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if left_out := prepared.counts.get("receipts_left_out_by_split"):
        console.print(
            f"{left_out} labelled receipts are on neither side: near duplicates of held-out ones, or elsewhere"
        )
    for problem in prepared.counts["problems"].values():
        verb = "left out" if problem["dropped"] else "noted"
        console.print(f"{problem['count']} {verb}: {problem['examples'][0]}", markup=False, highlight=False)
    if options.restart:
        if start.path and Path(start.path).resolve().is_relative_to(run_dir.resolve()):
            raise UserError(f"--restart would delete the model to start from, {start.path}; use another --job-name")
        if ranks.is_main():
            run_folder.clear(run_dir)
        ranks.wait_for_all()
    resolved = resolve_defaults(training, data, start)
    request = RunRequest(name, job_id, start, resolved, data, run_dir, options.stop)
    return train(request, prepared, tokenizer, sink=sink, console=console)


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


def _deliver(
    record: RunRecord, run_dir: Path, artifacts: ArtifactSink | None, sink: MetricsSink, console: Console
) -> None:
    """Report, then the record as complete, then S3: what says `complete` comes after all that it speaks of."""
    if not ranks.is_main():
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
    console.print(f"files: {where}\nreport: {report}", markup=False, highlight=False, soft_wrap=True)


def _require_report() -> None:
    """The report comes after hours of training: what it needs is looked for before.

    Raises:
        UserError: it is not installed.
    """
    for package in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"the report needs {package}: pip install 'receipt-trainer[train,report]'")


def _artifacts(options: RunOptions, job_id: str) -> ArtifactSink | None:
    """Where the run's files go: a prefix of its own, so that no two runs' files ever mix.

    Raises:
        UserError: no AWS CLI, or no such bucket.
    """
    if not options.artifacts_bucket:
        return None
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.artifacts import S3Artifacts, run_prefix

    env = WorkerEnv.read(os.environ)
    artifacts = S3Artifacts(options.artifacts_bucket, run_prefix(options.job_name, job_id), cli=env.aws_cli)
    artifacts.check()
    with clients.aws_faults(f"look for bucket '{options.artifacts_bucket}'"):
        clients.s3().list_objects_v2(Bucket=options.artifacts_bucket, Prefix="runs/", MaxKeys=1)
    return artifacts


def _deliver_again(
    record: RunRecord, run_dir: Path, artifacts: ArtifactSink | None, console: Console, *, is_asked: bool
) -> None:
    """A complete run is not trained again; its upload may have failed, so that is repeated.

    Args:
        is_asked: a worker asks for this very run, so that there being nothing to do is no mistake.
    """
    if artifacts is None and is_asked:
        return
    if artifacts is None:
        raise UserError(
            f"{run_dir} holds the complete run '{record.job_name}'; use another --job-name, or --restart to start over"
        )
    console.print(
        f"'{record.job_name}' is complete; its files are in {run_dir} and {artifacts.upload(run_dir)}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
