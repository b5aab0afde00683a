"""One training run of the family, from prepared data to a model on disk."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter
from transformers import PrinterCallback, TrainerState, set_seed
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import ProgressCallback

from receipt_trainer.config_vl import VlConfig
from receipt_trainer.contract.interruption import StopRequest
from receipt_trainer.contract.names import MODEL_DIR, RUN_FILE
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.sinks import MetricsSink
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.arguments import training_arguments
from receipt_trainer.models.paddleocr_vl.batches import VlCollator
from receipt_trainer.models.paddleocr_vl.build import Machine, build, choose_machine, count_parameters, peak_memory_gib
from receipt_trainer.models.paddleocr_vl.callbacks import VlEarlyStopping, VlProgress, VlRecords, is_reached
from receipt_trainer.models.paddleocr_vl.checkpoint_weights import load_weights
from receipt_trainer.models.paddleocr_vl.loss import TokenLoss
from receipt_trainer.models.paddleocr_vl.model import Loaded, write_model
from receipt_trainer.models.paddleocr_vl.prepare import VlData
from receipt_trainer.models.paddleocr_vl.records import fingerprint, now, open_record
from receipt_trainer.models.paddleocr_vl.run_scores import Scoring, forget_answers, score_run
from receipt_trainer.models.paddleocr_vl.sampler import EpochBatches, difficulties
from receipt_trainer.models.paddleocr_vl.trainer import VlTrainer
from receipt_trainer.training import checkpoints, distributed
from receipt_trainer.training.callbacks.checkpoint_commit import CheckpointCommit
from receipt_trainer.training.callbacks.liveness import ProgressReports
from receipt_trainer.training.callbacks.loss_state import LossState
from receipt_trainer.training.callbacks.set_epoch import SetEpoch
from receipt_trainer.training.callbacks.stop_signal import StopSignal


@dataclass(frozen=True, slots=True)
class VlRequest:
    """What to train and where its files go. A run in `run_dir` is continued.

    Attributes:
        save_interval_s: seconds after which there is a checkpoint at the latest; 0: those of the configuration alone.
    """

    job_name: str
    job_id: str
    config: VlConfig
    run_dir: Path
    stop: StopRequest = field(default_factory=StopRequest)
    save_interval_s: float = 0.0


def train(request: VlRequest, data: VlData, processor: Any, *, sink: MetricsSink, console: Console) -> RunRecord:
    """Train, or go on training, and leave model/ and run.json in the run's folder.

    The record's status stays `running`: it is complete when whoever calls has put the rest in its place.

    Raises:
        UserError: the folder holds another run's checkpoint, or the configuration does not fit the machine.
        WorldError: the loss became NaN or infinite.
        Interrupted: `request.stop` was asked; the newest checkpoint is complete.
    """
    config, run_dir = request.config, request.run_dir
    machine = choose_machine(config)
    print_of_run = fingerprint(config, data)
    found = checkpoints.latest(run_dir)
    if found is not None:
        checkpoints.require_same_run(found, print_of_run)
    set_seed(config.training.seed)
    model = build(config, machine)
    record = open_record(
        config,
        data,
        machine,
        job_name=request.job_name,
        job_id=request.job_id,
        run_file=run_dir / RUN_FILE,
        found=found,
    )
    record.vl["parameters"] = count_parameters(model)
    if distributed.is_main():
        if found is None:
            forget_answers(run_dir)
        for gone in checkpoints.clear_leftovers(run_dir, found):
            sink.checkpoint_gone(gone)
        record.write(run_dir / RUN_FILE)
    distributed.wait_for_all()
    records = VlRecords(record, run_dir, sink)
    trainer = _trainer(request, data, processor, model, print_of_run, machine, records, console, found)
    before = time.monotonic()
    _run(trainer, found, config)
    elapsed = time.monotonic() - before
    record.timings |= {
        "train_s": round(records.elapsed_s(), 3),
        "train_this_attempt_s": round(elapsed, 3),
        "steps": trainer.state.global_step,
    }
    if trainer.num_tokens:  # an attempt may have nothing left to train
        record.timings["tokens_per_s"] = round(trainer.num_tokens / max(elapsed, 1e-9), 1)
    record.vl["peak_memory_gib"] = max(record.vl.get("peak_memory_gib", 0.0), peak_memory_gib(machine.cuda))
    if trainer.is_world_process_zero():
        record.vl["final"] = {f"eval_{name}": value for name, value in trainer.judge().items()}
        write_model(trainer.model, processor, run_dir / MODEL_DIR)
        record.write(run_dir / RUN_FILE)
        if config.evaluation.enabled:
            loaded, scoring = _scoring(trainer, request, data, processor, print_of_run)
            with trainer.accelerator.autocast():
                score_run(loaded, scoring, record, sink, console)
        record.finished_at = now()
        record.write(run_dir / RUN_FILE)
    return record


def _scoring(
    trainer: VlTrainer, request: VlRequest, data: VlData, processor: Any, print_of_run: dict[str, Any]
) -> tuple[Loaded, Scoring]:
    """The kept model, which the trainer holds now, and what it is to answer."""
    device = trainer.args.device
    asked = {"run": print_of_run, "step": trainer.state.best_global_step, "device": str(device)}
    loaded = Loaded(trainer.model.eval(), processor, request.config.model_name_or_path, None, device)
    return loaded, Scoring(request.run_dir, request.config.evaluation, data.validation, asked)


def _run(trainer: VlTrainer, found: checkpoints.Checkpoint | None, config: VlConfig) -> None:
    """Train what is left; the trainer's model is then the best one.

    Raises:
        UserError: the GPU's memory is too small, or the best model was removed by somebody.
    """
    training = config.training
    state = TrainerState.load_from_json(str(found.path / checkpoints.STATE)) if found else None
    if (
        found
        and state
        and (state.global_step >= state.max_steps or is_reached(state, training.early_stopping_patience))
    ):
        # Trainer would take one more step: it looks whether it is at the end only after a step.
        trainer.state = state
        _load_best(trainer.model, checkpoints.best_of(found) or found.path)
        return
    try:
        trainer.train(resume_from_checkpoint=str(found.path) if found else None)
    except torch.OutOfMemoryError as error:
        raise UserError(
            "the GPU's memory is too small for per_device_train_batch_size "
            f"{training.per_device_train_batch_size}: halve it and double gradient_accumulation_steps, "
            "set gradient_checkpointing: true, or lower "
            f"max_sequence_length ({str(error).splitlines()[0][:120]})"
        ) from None
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, VlProgress):
                callback.close()
    best = trainer.state.best_global_step
    if best:
        _load_best(trainer.model, Path(str(trainer.args.output_dir)) / f"checkpoint-{best}")


def _load_best(model: Any, path: Path) -> None:
    if checkpoints.verify(path) is None:
        raise UserError(f"{path}, the best model of the run, is not whole any more; use --restart to start over")
    load_weights(model, path)


def _num_epochs(config: VlConfig, count: int) -> float:
    """Passes over the examples, by steps where those are given."""
    training = config.training
    seen = (
        training.max_steps
        * training.gradient_accumulation_steps
        * training.per_device_train_batch_size
        * distributed.count()
    )
    return seen / count if training.max_steps else training.num_train_epochs


def _trainer(
    request: VlRequest,
    data: VlData,
    processor: Any,
    model: Any,
    print_of_run: dict[str, Any],
    machine: Machine,
    records: VlRecords,
    console: Console,
    found: checkpoints.Checkpoint | None,
) -> VlTrainer:
    config, training = request.config, request.config.training
    examples, held_out = data.train.examples, data.validation.examples
    batches = EpochBatches(
        data.train.lengths,
        training.per_device_train_batch_size,
        training.seed,
        schedule=training.difficulty_schedule,
        difficulty=difficulties(examples),
        num_epochs=_num_epochs(config, len(examples)),
    )
    collator = VlCollator(
        examples,
        processor,
        augmentation=config.augmentation,
        seed=training.seed,
        max_length=training.max_sequence_length,
    )
    size = training.eval_batch_size or training.per_device_train_batch_size
    by_length = sorted(range(len(held_out)), key=lambda number: (data.validation.lengths[number], number))
    unlogged = LossState(found)
    log = SummaryWriter(str(request.run_dir / "tensorboard"), purge_step=found.step + 1 if found else 0)
    trainer = VlTrainer(
        model=model,
        args=training_arguments(training, request.run_dir, machine.cuda, machine.precision),
        batches=batches,
        collator=collator,
        num_examples=len(examples),
        validation=VlCollator(held_out, processor),
        validation_batches=[by_length[first : first + size] for first in range(0, len(by_length), size)],
        loss=TokenLoss(config.loss),
        callbacks=[
            SetEpoch(batches, collator),
            ProgressReports(),
            records,
            VlEarlyStopping(training.early_stopping_patience),
            unlogged,
            CheckpointCommit(
                print_of_run,
                training.save_total_limit,
                training.save_steps,
                every_s=request.save_interval_s,
                sink=records.sink,
            ),
            StopSignal(request.stop),
            *([TensorBoardCallback(log)] if distributed.is_main() else ()),
            VlProgress(console),
        ],
    )
    unlogged.attach(trainer)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer
