"""One training run, from prepared data to a scored model on disk."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter
from transformers import PrinterCallback, TrainerCallback, TrainingArguments, set_seed
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import ProgressCallback

from receipt_trainer.config import DataConfig, TrainingConfig
from receipt_trainer.contract.names import MODEL_DIR, PREDICTIONS_FILE, RUN_FILE
from receipt_trainer.contract.ports import MetricsSink
from receipt_trainer.contract.predictions import write_predictions
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.data.examples import downsample
from receipt_trainer.data.prepare import Prepared
from receipt_trainer.data.snapshot import encoding_config
from receipt_trainer.train import checkpoints, hardware, metrics
from receipt_trainer.train.callbacks.early_stopping import EarlyStopping
from receipt_trainer.train.callbacks.epoch_order import EpochOrder
from receipt_trainer.train.callbacks.progress import ProgressBar
from receipt_trainer.train.callbacks.records import Records
from receipt_trainer.train.callbacks.sealing import SealingCallback
from receipt_trainer.train.loss import MarginalLoss, target_table
from receipt_trainer.train.model import Start, build
from receipt_trainer.train.packing import EpochBatches, PackingCollator
from receipt_trainer.train.saved import save_model
from receipt_trainer.train.trainer import ReceiptTrainer
from receipt_trainer.train.verdicts import receipt_predictions

_NOT_IN_THE_CURVE = frozenset(
    {"save_total_limit", "save_steps", "logging_steps", "early_stopping_patience", "dataloader_workers"}
)
"""Training fields that a resumed run may change: its losses do not depend on them."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to train and where its files go. The run's folder is `run_dir`; a run in it is continued."""

    job_name: str
    job_id: str
    start: Start
    training: TrainingConfig
    data: DataConfig
    run_dir: Path


def resolve_defaults(training: TrainingConfig, data: DataConfig, start: Start) -> TrainingConfig:
    """Fill in what depends on the start and on the kind of examples, so that the record says all."""
    chosen: dict[str, Any] = {}
    if training.batch_size is None:
        chosen["batch_size"] = 64 if data.examples == "line" else 4
    if training.learning_rate is None:
        chosen["learning_rate"] = start.default_learning_rate
    return training.model_copy(update=chosen)


def fingerprint(request: RunRequest, prepared: Prepared) -> dict[str, Any]:
    """What the losses of a run depend on; a checkpoint of another one is refused."""
    digest = hashlib.sha256()
    for side in (prepared.train.examples, prepared.validation.examples):
        for array in (side.offsets, side.input_ids, side.bbox, side.targets, side.words):
            digest.update(array.tobytes())
    training = request.training.model_dump(mode="json")
    return {
        "model": request.start.name,
        "labels": list(prepared.space.labels),
        "tokenizer": prepared.tokenizer_hash,
        "data": digest.hexdigest(),
        "data_config": encoding_config(request.data)
        | {"o_entity_ratio": request.data.o_entity_ratio, "augment": request.data.augment},
        "training_config": {name: value for name, value in training.items() if name not in _NOT_IN_THE_CURVE},
    }


def train(request: RunRequest, prepared: Prepared, tokenizer: Any, *, sink: MetricsSink, console: Console) -> RunRecord:
    """Train, or go on training, and leave model/, predictions.jsonl and run.json in the run's folder.

    The record's status stays `running`: it is complete when whoever calls has put the rest in its place.

    Raises:
        UserError: the folder holds another run's checkpoint, or the configuration does not fit the machine.
    """
    run_dir, config = request.run_dir, request.training
    cuda = hardware.use_cuda(config)
    precision = hardware.precision(config, cuda)
    print_of_run = fingerprint(request, prepared)
    found = checkpoints.latest(run_dir)
    if found is not None:
        checkpoints.require_same_run(found, print_of_run)
    for path in checkpoints.folders(run_dir):
        if not (path / checkpoints.SEAL).is_file():
            checkpoints.remove(path)
    set_seed(config.seed)
    model = build(request.start, prepared.space, tokenizer, config)
    record = _open_record(request, prepared, found, hardware.describe(cuda, precision))
    record.write(run_dir / RUN_FILE)
    trainer, records = _trainer(request, prepared, model, print_of_run, record, sink, console, cuda, precision, found)
    before = time.monotonic()
    try:
        trainer.train(resume_from_checkpoint=str(found.path) if found else None)
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, ProgressBar):
                callback.close()
    record.timings["train_s"] = round(records.elapsed_s(), 3)
    record.timings["train_this_attempt_s"] = round(time.monotonic() - before, 3)
    _finish(request, prepared, trainer, tokenizer, record)
    return record


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
    numbers = downsample(prepared.train.examples, request.data.o_entity_ratio, config.seed)
    collator = PackingCollator(prepared.train.examples, augment=request.data.augment, seed=config.seed)
    batches = EpochBatches(numbers, config.batch_size or 1, config.seed)
    records = Records(record, request.run_dir, sink)
    writer = SummaryWriter(str(request.run_dir / "tensorboard"), purge_step=found.step + 1 if found else None)
    callbacks: Sequence[TrainerCallback] = (
        EpochOrder(batches, collator),
        records,
        EarlyStopping(config.early_stopping_patience),
        SealingCallback(print_of_run, config.save_total_limit, config.save_steps),
        TensorBoardCallback(writer),
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
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer, records


def training_arguments(
    config: TrainingConfig, run_dir: Path, cuda: bool, precision: hardware.Precision
) -> TrainingArguments:
    """transformers' arguments for a configuration."""
    arguments = TrainingArguments(
        output_dir=str(run_dir),
        num_train_epochs=config.num_epochs,
        max_steps=config.max_steps or -1,
        per_device_train_batch_size=config.batch_size or 1,
        learning_rate=config.learning_rate or 0.0,
        lr_scheduler_type=config.lr_scheduler,
        warmup_steps=config.warmup_ratio,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        optim="adamw_torch_fused",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_steps=config.logging_steps,
        logging_nan_inf_filter=False,
        load_best_model_at_end=True,
        metric_for_best_model="eval_f1",
        greater_is_better=True,
        seed=config.seed,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        tf32=config.tf32 if cuda and torch.cuda.get_device_capability() >= (8, 0) else None,
        gradient_checkpointing=config.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if config.gradient_checkpointing else None,
        torch_compile=config.torch_compile,
        dataloader_num_workers=config.dataloader_workers,
        dataloader_pin_memory=cuda,
        remove_unused_columns=False,
        label_names=["labels"],
        use_cpu=not cuda,
        disable_tqdm=True,
        report_to=[],
        log_level="error",
    )
    if cuda and "LOCAL_RANK" not in os.environ:
        arguments._n_gpu = 1  # DataParallel would cut packed rows apart; several GPUs go through torchrun
    return arguments


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
