"""A complete run on this machine, of any family: its folder, data, training, report, rows and upload."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerState, set_seed
from transformers.integrations import TensorBoardCallback

from receipt_trainer.contract.interruption import Interrupted, StopRequest
from receipt_trainer.contract.job_row import State
from receipt_trainer.contract.names import MODEL_DIR, RUN_FILE
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.sinks import ArtifactSink, MetricsSink, NoMetrics, RunStore, Sealed
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.training import checkpoints, distributed, failures, folder, hardware
from receipt_trainer.training.callbacks import (
    CheckpointCommit,
    EarlyStopping,
    LossState,
    ProgressBar,
    ProgressReports,
    Records,
    StopSignal,
)
from receipt_trainer.training.console import quiet_libraries, say
from receipt_trainer.training.family import ModelFamily, Task
from receipt_trainer.training.hardware import Machine
from receipt_trainer.training.trainer import BatchTrainer


def deliver(
    family: ModelFamily[Any],
    record: RunRecord,
    run_dir: Path,
    artifacts: ArtifactSink | None,
    sink: MetricsSink,
    console: Console,
    *,
    is_shown: bool,
) -> None:
    """Report, then the record as complete, then S3: what says `complete` comes after all that it speaks of."""
    if not distributed.is_main():
        return
    record.status = "complete"
    report = family.report(run_dir, record)
    record.write(run_dir / RUN_FILE)
    then = family.conclude(run_dir, record, console if is_shown else None)
    where = _upload(run_dir, artifacts)
    sink.log("info", f"run complete: {family.describe(record)}; files in {where}")
    say(console, f"files: {where}\nmodel: {run_dir / MODEL_DIR}\nreport: {report}" + (f"\n{then}" if is_shown else ""))


def require_same(record: RunRecord, run_dir: Path, asked: Mapping[str, Any], *, is_asked: bool) -> None:
    """Refuse to take a complete run for one of other settings, or to do nothing; the UserError says which it is."""
    there = {"model": record.model, **record.training_config, **record.data_config}
    differing = [name for name, value in asked.items() if value != there.get(name)]
    if differing or not is_asked:
        other = f" with other settings ({', '.join(differing)})" if differing else ""
        raise UserError(
            f"{run_dir} holds the complete run '{record.job_name}'{other}; choose another --output-dir, or --restart "
            "to start over"
        )


def _upload(run_dir: Path, artifacts: ArtifactSink | None) -> str:
    return f"{run_dir}" if artifacts is None else f"{run_dir} and {artifacts.upload(run_dir)}"


def open_metrics(
    store: RunStore, job_id: str, run_dir: Path, attempt: int | None, more: Sequence[Mapping[str, Any]] = ()
) -> MetricsSink:
    """Where the metrics and log lines of this process go; of several, the main one's alone.

    From a worker's second attempt on, the rows of earlier ones are put right first; `more` are rows that no history
    has.
    """
    if not distributed.is_main():
        return NoMetrics()
    is_first = (attempt or 1) == 1
    history = [] if is_first else _history(run_dir)
    return store.open_metrics(job_id, [*history, *more], None if is_first else _sealed(run_dir))


def _history(run_dir: Path) -> list[dict[str, Any]]:
    """The values that earlier attempts logged up to the checkpoint that this one resumes from."""
    found = checkpoints.latest(run_dir)
    return list(json.loads((found.path / checkpoints.STATE).read_bytes())["log_history"]) if found else []


def _sealed(run_dir: Path) -> list[Sealed]:
    """The checkpoints that earlier attempts left."""
    found = []
    for path in checkpoints.folders(run_dir):
        with contextlib.suppress(OSError, ValueError, KeyError):  # none that a run resumes from
            marker = json.loads((path / checkpoints.SEAL).read_bytes())
            epoch = json.loads((path / checkpoints.STATE).read_bytes())["epoch"]
            size = sum(int(file["size"]) for file in marker["files"].values())
            found.append(Sealed(int(marker["step"]), float(epoch), path, size))
    return found


def set_status(store: RunStore, job_id: str, job_name: str, status: State) -> None:
    """See `RunStore`; of several processes the main one writes."""
    if distributed.is_main():
        store.set_status(job_id, job_name, status)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run to make: its job, its folder and its sinks. A run in `run_dir` is continued.

    Attributes:
        restart: forget what an earlier run in the folder left.
        is_shown: draw bars on a terminal.
        job_id: set by a worker, which owns the job's row; then there being nothing to train is no mistake.
        attempt: the worker's claim.
        stop: asks the run to stop.
        save_interval_s: seconds after which there is a checkpoint at the latest; 0: those of the configuration alone.
    """

    family: ModelFamily[Any]
    job_name: str
    run_dir: Path
    store: RunStore
    restart: bool = False
    is_shown: bool = True
    job_id: str | None = None
    attempt: int | None = None
    stop: StopRequest = field(default_factory=StopRequest)
    save_interval_s: float = 0.0


def run(request: RunRequest) -> None:
    """Train and leave everything of the run in its folder, and in S3 and the jobs table where they are named.

    A complete run is only delivered.

    Raises:
        UserError, WorldError: as the parts say.
        Interrupted: `request.stop` was asked; the newest checkpoint is complete.
    """
    _require_packages(request.family)
    quiet_libraries()
    machine = request.family.machine()
    if distributed.count() > 1:
        distributed.join(machine.cuda)
    try:
        with folder.own(request.run_dir):
            _run(request, machine, Console(quiet=not distributed.is_main()))
    finally:
        distributed.leave()


def _require_packages(family: ModelFamily[Any]) -> None:
    """The report comes after hours of training: what it needs is looked for before."""
    missing = [(name, extras) for name, extras in family.packages.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{missing[0][0]} is not installed: pip install './trainer[{missing[0][1]}]'")


def _run(request: RunRequest, machine: Machine, console: Console) -> None:
    run_dir, store, name = request.run_dir, request.store, request.job_name
    earlier = None if request.restart else folder.earlier(run_dir)
    job_id = request.job_id or (earlier.job_id if earlier is not None else str(uuid.uuid4()))
    artifacts = store.open_artifacts(job_id, name)
    if earlier is not None and earlier.status == "complete":
        if distributed.is_main():
            is_asked = request.job_id is not None or artifacts is not None
            require_same(earlier, run_dir, request.family.asked(), is_asked=is_asked)
            if request.job_id is not None:
                missing = request.family.missing_rows(earlier)
                open_metrics(store, job_id, run_dir, request.attempt, missing).close()
            # It is not trained again; its upload may have failed, so that is repeated.
            say(console, f"'{earlier.job_name}' is complete; its files are in {_upload(run_dir, artifacts)}")
        return
    set_status(store, job_id, name, "RUNNING")
    sink = open_metrics(store, job_id, run_dir, request.attempt)
    try:
        record = _prepare_and_train(request, job_id, machine, sink, console)
        is_shown = request.job_id is None or console.is_terminal
        deliver(request.family, record, run_dir, artifacts, sink, console, is_shown=is_shown)
    except (KeyboardInterrupt, Interrupted) as interrupted:
        _end(request, job_id, sink, "INTERRUPTED", str(interrupted) or "interrupted from the keyboard")
        raise
    except BaseException as error:
        fault = failures.in_one_line(error, run_dir)
        reason = str(fault) if isinstance(fault, UserError | WorldError) else repr(fault)
        if not isinstance(fault, UserError):  # a mistake in this call says nothing of the run in the folder
            folder.fail(run_dir, reason)
        _end(request, job_id, sink, "INTERRUPTED" if folder.is_complete(run_dir) else "FAILED", reason)
        if fault is error:
            raise
        raise fault from error
    set_status(store, job_id, name, "SUCCEEDED")
    sink.close()


def _end(request: RunRequest, job_id: str, sink: MetricsSink, status: State, reason: str) -> None:
    """Say how a run ended. The fault that ended it is the one to report; rows that fail come second."""
    if request.job_id is None:  # a worker says it in its own words
        sink.log("info" if status == "INTERRUPTED" else "error", reason)
    try:
        set_status(request.store, job_id, request.job_name, status)
        sink.close()
    except (UserError, WorldError) as error:
        Console(stderr=True).print(f"also: {error}", markup=False, highlight=False)


def _prepare_and_train(
    request: RunRequest, job_id: str, machine: Machine, sink: MetricsSink, console: Console
) -> RunRecord:
    task = request.family.prepare(console, is_shown=request.is_shown)
    for line in task.announce():
        say(console, line)
        sink.log("info", line)
    if request.restart:
        start = task.start_dir
        if start is not None and start.resolve().is_relative_to(request.run_dir.resolve()):
            raise UserError(f"--restart would delete the model to start from, {start}; choose another --output-dir")
        if distributed.is_main():
            folder.clear(request.run_dir)
        distributed.wait_for_all()
    return train(request, job_id, task, machine, sink=sink, console=console)


def train(
    request: RunRequest, job_id: str, task: Task[Any], machine: Machine, *, sink: MetricsSink, console: Console
) -> RunRecord:
    """Train, or resume, and leave model, predictions and run.json in the run's folder.

    The record's status stays `running`: it is complete when `deliver` has put the rest in its place.

    Raises:
        UserError: the folder holds another run's checkpoint, or the configuration does not fit the machine.
        WorldError: the loss became NaN or infinite, or the disk is full.
        Interrupted: `request.stop` was asked; the newest checkpoint is complete.
    """
    run_dir, config, evaluations = request.run_dir, task.hyperparameters, task.evaluations
    fingerprint = task.fingerprint()
    found = checkpoints.latest(run_dir)
    if found is not None:
        checkpoints.require_same_run(found, fingerprint)
        say(console, f"resuming from step {found.step}")
    set_seed(config.seed)
    model = task.build(machine)
    if found is None:
        failures.require_room(run_dir, model.parameters())
    record = _open_record(request, job_id, task, model, machine, found)
    if distributed.is_main():
        for gone in checkpoints.clear_leftovers(run_dir, found):
            sink.checkpoint_gone(gone)
        record.write(run_dir / RUN_FILE)
    distributed.wait_for_all()
    records, losses = Records(evaluations, record, run_dir, sink), LossState(found)
    stopping = EarlyStopping(evaluations, config.early_stopping_patience)
    commit = CheckpointCommit(
        fingerprint, config.save_total_limit, config.save_steps, every_s=request.save_interval_s, sink=sink
    )
    bar = ProgressBar(console, evaluations.describe)
    callbacks = [ProgressReports(), records, stopping, losses, commit, StopSignal(request.stop)]
    trainer = task.trainer(model, machine, run_dir, [*callbacks, *_tensorboard(run_dir, found), bar])
    losses.attach(trainer)
    before = time.monotonic()
    try:
        _train(trainer, found, stopping, task.memory_hint)
    finally:
        bar.close()
    record.timings |= _timings(trainer, records.elapsed_s(), time.monotonic() - before)
    if trainer.is_world_process_zero():
        task.finish(trainer, record, run_dir, sink, console)
        record.finished_at = _now()
        record.write(run_dir / RUN_FILE)
    return record


def _tensorboard(run_dir: Path, found: checkpoints.Checkpoint | None) -> list[TensorBoardCallback]:
    """The main process's curves; what an interrupted run logged beyond its checkpoint is hidden."""
    if not distributed.is_main():
        return []
    writer = SummaryWriter(str(run_dir / "tensorboard"), purge_step=found.step + 1 if found else 0)
    return [TensorBoardCallback(writer)]


def _timings(trainer: BatchTrainer, train_s: float, attempt_s: float) -> dict[str, float]:
    """Seconds and rates for the run's record: of all attempts, and tokens of this one."""
    steps = trainer.state.global_step
    found = {"train_s": round(train_s, 3), "train_this_attempt_s": round(attempt_s, 3), "steps": steps}
    found["steps_per_s"] = round(steps / max(found["train_s"], 1e-9), 4)
    if trainer.num_tokens:  # an attempt may have nothing left to train
        found["tokens_per_s"] = round(trainer.num_tokens / max(attempt_s, 1e-9), 1)
    return found


def _open_record(
    request: RunRequest,
    job_id: str,
    task: Task[Any],
    model: Any,
    machine: Machine,
    found: checkpoints.Checkpoint | None,
) -> RunRecord:
    """The record of a run that begins, or that resumes from the checkpoint `found`."""
    record = task.record(request.job_name, job_id, model)
    record.versions, record.hardware = hardware.versions(), hardware.describe(machine)
    record.started_at = _now()
    earlier = folder.earlier(request.run_dir) if found is not None else None
    if found is not None and earlier is not None:
        record.job_id, record.started_at, record.timings = earlier.job_id, earlier.started_at, dict(earlier.timings)
        task.evaluations.restore(record, earlier, found.step)
    return record


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _train(
    trainer: BatchTrainer, found: checkpoints.Checkpoint | None, stopping: EarlyStopping, memory_hint: str
) -> None:
    """Train what is left; the trainer's model is then the best one.

    UserError: that was removed by somebody, or the GPU's memory is too small.
    """
    state = TrainerState.load_from_json(str(found.path / checkpoints.STATE)) if found else None
    if found and state and (state.global_step >= state.max_steps or stopping.is_reached(state)):
        # Trainer would take one more step: it looks whether it is at the end only after a step.
        trainer.state = state
        _load_best(trainer, checkpoints.best_of(found) or found.path)
        return
    try:
        trainer.train(resume_from_checkpoint=str(found.path) if found else None)
    except torch.OutOfMemoryError as error:
        told = str(error).splitlines()[0][:120]
        raise UserError(f"the GPU's memory is too small for {memory_hint} ({told})") from None
    best = trainer.state.best_global_step
    if best:
        _load_best(trainer, Path(str(trainer.args.output_dir)) / f"checkpoint-{best}")


def _load_best(trainer: BatchTrainer, path: Path) -> None:
    if checkpoints.verify(path) is None:
        raise UserError(f"{path}, the best model of the run, is damaged; use --restart to start over")
    trainer.load_weights(path)
