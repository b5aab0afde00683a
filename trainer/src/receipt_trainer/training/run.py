"""One training run, from prepared data to a scored model on disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import load_file
from torch.utils.tensorboard import SummaryWriter
from transformers import PrinterCallback, TrainerCallback, TrainerState, set_seed
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import ProgressCallback

from receipt_trainer.config import DataConfig, TrainingConfig
from receipt_trainer.contract.interruption import StopRequest
from receipt_trainer.contract.names import MODEL_DIR, PREDICTIONS_FILE, RUN_FILE
from receipt_trainer.contract.predictions import write_predictions
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.sinks import MetricsSink
from receipt_trainer.data.examples import VIEWS, downsample
from receipt_trainer.data.prepare import Prepared
from receipt_trainer.errors import UserError
from receipt_trainer.models.layoutlm import metrics
from receipt_trainer.models.layoutlm.collator import EpochBatches, PackingCollator
from receipt_trainer.models.layoutlm.export import save_model
from receipt_trainer.models.layoutlm.fingerprint import fingerprint
from receipt_trainer.models.layoutlm.loss import MarginalLoss, target_table
from receipt_trainer.models.layoutlm.model import Start, build
from receipt_trainer.models.layoutlm.to_predictions import receipt_predictions
from receipt_trainer.training import checkpoints, distributed, hardware
from receipt_trainer.training.arguments import training_arguments
from receipt_trainer.training.callbacks.checkpoint_commit import CheckpointCommit
from receipt_trainer.training.callbacks.early_stopping import EarlyStopping, is_reached
from receipt_trainer.training.callbacks.finite_loss import FiniteLoss
from receipt_trainer.training.callbacks.liveness import ProgressReports
from receipt_trainer.training.callbacks.loss_state import LossState
from receipt_trainer.training.callbacks.progress import ProgressBar
from receipt_trainer.training.callbacks.records import Records, best_of
from receipt_trainer.training.callbacks.set_epoch import SetEpoch
from receipt_trainer.training.callbacks.stop_signal import StopSignal
from receipt_trainer.training.trainer import ReceiptTrainer


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to train and where its files go. The run's folder is `run_dir`; a run in it is continued.

    Attributes:
        save_interval_s: seconds after which there is a checkpoint at the latest; 0: those of the configuration alone.
    """

    job_name: str
    job_id: str
    start: Start
    training: TrainingConfig
    data: DataConfig
    run_dir: Path
    stop: StopRequest = field(default_factory=StopRequest)
    save_interval_s: float = 0.0


def resolve_defaults(training: TrainingConfig, data: DataConfig, start: Start) -> TrainingConfig:
    """Fill in what depends on the start and on the kind of examples, so that the record says all."""
    chosen: dict[str, Any] = {}
    if training.learning_rate is None:
        chosen["learning_rate"] = start.default_learning_rate
    return training.model_copy(update=chosen)


def train(request: RunRequest, prepared: Prepared, tokenizer: Any, *, sink: MetricsSink, console: Console) -> RunRecord:
    """Train, or go on training, and leave model/, predictions.jsonl and run.json in the run's folder.

    The record's status stays `running`: it is complete when whoever calls has put the rest in its place.

    Raises:
        UserError: the folder holds another run's checkpoint, or the configuration does not fit the machine.
        Interrupted: `request.stop` was asked; the newest checkpoint is complete.
    """
    run_dir, config = request.run_dir, request.training
    cuda = hardware.use_cuda(config)
    precision = hardware.precision(config, cuda)
    print_of_run = fingerprint(request.start.name, config, request.data, prepared)
    found = checkpoints.latest(run_dir)
    if found is not None:
        checkpoints.require_same_run(found, print_of_run)
    set_seed(config.seed)
    model = build(request.start, prepared.space, tokenizer, config)
    record = _open_record(request, prepared, found, hardware.describe(cuda, precision))
    if distributed.is_main():
        for gone in checkpoints.clear_leftovers(run_dir, found):
            sink.checkpoint_gone(gone)
        record.write(run_dir / RUN_FILE)
    distributed.wait_for_all()
    trainer, records = _trainer(request, prepared, model, print_of_run, record, sink, console, cuda, precision, found)
    before = time.monotonic()
    _run(trainer, found, config)
    record.timings["train_s"] = round(records.elapsed_s(), 3)
    record.timings["train_this_attempt_s"] = round(time.monotonic() - before, 3)
    _finish(request, prepared, trainer, tokenizer, record)
    return record


def _run(trainer: ReceiptTrainer, found: checkpoints.Checkpoint | None, config: TrainingConfig) -> None:
    """Train what is left; the trainer's model is then the best one.

    Raises:
        UserError: the GPU's memory is too small, or the best model was removed by somebody.
    """
    state = TrainerState.load_from_json(str(found.path / checkpoints.STATE)) if found else None
    if found and state and (state.global_step >= state.max_steps or is_reached(state, config.early_stopping_patience)):
        # Trainer would take one more step: it looks whether it is at the end only after a step.
        trainer.state = state
        _load_best(trainer, checkpoints.best_of(found) or found.path)
        return
    try:
        trainer.train(resume_from_checkpoint=str(found.path) if found else None)
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the GPU's memory is too small for --batch-size {config.batch_size}: halve it and double "
            f"--gradient-accumulation-steps, or set gradient_checkpointing=true ({str(error).splitlines()[0][:120]})"
        ) from None
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, ProgressBar):
                callback.close()
    if trainer.state.best_global_step and trainer.state.best_model_checkpoint is None:
        _load_best(trainer, Path(str(trainer.args.output_dir)) / f"checkpoint-{trainer.state.best_global_step}")


def _load_best(trainer: ReceiptTrainer, path: Path) -> None:
    if checkpoints.verify(path) is None:
        raise UserError(f"{path}, the best model of the run, is not whole any more; use --restart to start over")
    trainer.model.load_state_dict(load_file(path / "model.safetensors"))


def _open_record(
    request: RunRequest, prepared: Prepared, found: checkpoints.Checkpoint | None, machine: dict[str, Any]
) -> RunRecord:
    record = RunRecord(
        job_name=request.job_name,
        job_id=request.job_id,
        model=request.start.name,
        training_config=request.training.model_dump(mode="json"),
        data_config=request.data.model_dump(mode="json"),
        label_list=list(prepared.space.tags),
        entity_labels=list(prepared.space.labels),
        dataset_counts=prepared.counts,
        split=prepared.split,
        versions=hardware.versions(),
        hardware=machine,
        started_at=_now(),
    )
    path = request.run_dir / RUN_FILE
    if found is not None and path.is_file():
        earlier = RunRecord.load(path)
        record.job_id, record.started_at = earlier.job_id, earlier.started_at
        record.epoch_metrics = [row for row in earlier.epoch_metrics if row.step <= found.step]
        record.best = best_of(record.epoch_metrics)
    return record


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _trainer(
    request: RunRequest,
    prepared: Prepared,
    model: Any,
    print_of_run: dict[str, Any],
    record: RunRecord,
    sink: MetricsSink,
    console: Console,
    cuda: bool,
    precision: hardware.Precision,
    found: checkpoints.Checkpoint | None,
) -> tuple[ReceiptTrainer, Records]:
    config = request.training
    numbers = downsample(
        prepared.train.examples, request.data.o_entity_ratio, config.seed, len(VIEWS[request.data.examples])
    )
    examples = prepared.train.examples
    collator = PackingCollator(examples, select=True, augment=request.data.augment, seed=config.seed, coarse=cuda)
    batches = EpochBatches(
        numbers,
        config.batch_size,
        config.seed,
        lengths=examples.lengths,
        batch_tokens=config.batch_tokens,
        ranks=distributed.count(),
    )
    records, unlogged = Records(record, request.run_dir, sink), LossState(found)
    callbacks: Sequence[TrainerCallback] = (
        SetEpoch(batches, collator),
        ProgressReports(),
        records,
        EarlyStopping(config.early_stopping_patience),
        FiniteLoss(),
        unlogged,
        CheckpointCommit(
            print_of_run, config.save_total_limit, config.save_steps, every_s=request.save_interval_s, sink=sink
        ),
        StopSignal(request.stop),
        *([_tensorboard(request.run_dir, found)] if distributed.is_main() else ()),
        ProgressBar(console),
    )
    trainer = ReceiptTrainer(
        model=model,
        args=training_arguments(config, request.run_dir, cuda, precision),
        batches=batches,
        collator=collator,
        validation=prepared.validation,
        space=prepared.space,
        loss=MarginalLoss(target_table(prepared.space, prepared.sets), config.label_smoothing),
        callbacks=list(callbacks),
    )
    unlogged.attach(trainer)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer, records


def _tensorboard(run_dir: Path, found: checkpoints.Checkpoint | None) -> TrainerCallback:
    """TensorBoard's curves; what an interrupted run logged beyond its checkpoint is hidden."""
    return TensorBoardCallback(SummaryWriter(str(run_dir / "tensorboard"), purge_step=found.step + 1 if found else 0))


def _finish(
    request: RunRequest, prepared: Prepared, trainer: ReceiptTrainer, tokenizer: Any, record: RunRecord
) -> None:
    if not trainer.is_world_process_zero():
        return
    predictions, labels = trainer.judge()
    words, space = prepared.validation.words, prepared.space
    record.overall, record.per_label = metrics.score(words, labels, space)
    record.per_source = metrics.score_by_source(words, labels, space)
    record.confusion = metrics.confusion(words, labels, space)
    record.timings["steps_per_s"] = round(trainer.state.global_step / max(record.timings["train_s"], 1e-9), 4)
    record.timings["steps"] = trainer.state.global_step
    write_predictions(
        request.run_dir / PREDICTIONS_FILE, receipt_predictions(words, predictions.probabilities, labels, space)
    )
    save_model(trainer.model, tokenizer, space, request.data, request.run_dir / MODEL_DIR)
    record.finished_at = _now()
    record.write(request.run_dir / RUN_FILE)
