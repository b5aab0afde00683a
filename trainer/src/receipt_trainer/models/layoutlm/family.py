"""LayoutLM as a model family: receipts from a table or files, entities scored by seqeval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.contract.names import MODEL_DIR, PREDICTIONS_FILE
from receipt_trainer.contract.predictions import write_predictions
from receipt_trainer.contract.run_record import Best, EpochMetrics, LayoutLMRecord
from receipt_trainer.contract.sinks import MetricsSink
from receipt_trainer.data import snapshot
from receipt_trainer.data.decode import receipt_predictions
from receipt_trainer.data.encode import VIEWS, downsample
from receipt_trainer.data.prepare import Prepared, prepare, tokenizer_hash
from receipt_trainer.data.problems import problem_lines
from receipt_trainer.data.simulated import SimulatedReceipts
from receipt_trainer.errors import UserError
from receipt_trainer.models.layoutlm import metrics as scores
from receipt_trainer.models.layoutlm.collator import PackedBatches, PackingCollator
from receipt_trainer.models.layoutlm.export import save_model
from receipt_trainer.models.layoutlm.loss import MarginalLoss, target_table
from receipt_trainer.models.layoutlm.model import Start, build, load_tokenizer, resolve
from receipt_trainer.models.layoutlm.serve_export import describe_package, gold_receipts, gold_texts, try_export
from receipt_trainer.models.layoutlm.trainer import ReceiptTrainer
from receipt_trainer.reports.run_folder import load_run, next_steps, write_report
from receipt_trainer.reports.terminal import print_outcome
from receipt_trainer.training import distributed, hardware
from receipt_trainer.training.arguments import NOT_IN_THE_CURVE, training_arguments
from receipt_trainer.training.callbacks import SpacedCheckpoints
from receipt_trainer.training.console import progress_bar, say
from receipt_trainer.training.family import Evaluations, Moment
from receipt_trainer.training.hardware import Machine
from receipt_trainer.training.trainer import BatchTrainer

LEAST_TOKENS: Final = 256
"""Of a batch of few examples: a step on smaller ones costs more than its share."""


class F1Evaluations(Evaluations[LayoutLMRecord, EpochMetrics]):
    """Entity scores: the model of the highest F1 is kept."""

    metric = "eval_f1"
    is_higher_better = True
    sent = ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_f1", "eval_precision", "eval_recall")

    def row(self, moment: Moment, metrics: Mapping[str, float]) -> EpochMetrics:
        """See `Evaluations`."""
        scores = {name: metrics[f"eval_{name}"] for name in ("precision", "recall", "f1")}
        return EpochMetrics(**asdict(moment), eval_loss=metrics["eval_loss"], **scores)

    def rows(self, record: LayoutLMRecord) -> list[EpochMetrics]:
        """See `Evaluations`."""
        return record.epoch_metrics

    def keep(self, record: LayoutLMRecord, rows: list[EpochMetrics]) -> None:
        """See `Evaluations`."""
        best = max(rows, key=lambda row: row.f1, default=None)  # the first of equals, as the trainer keeps
        record.epoch_metrics = rows
        record.best = Best(epoch=best.epoch, step=best.step, f1=best.f1) if best else None

    def describe(self, metrics: Mapping[str, float]) -> str:
        """See `Evaluations`."""
        return (
            f"f1 {metrics['eval_f1']:.4f}, precision {metrics['eval_precision']:.4f}, "
            f"recall {metrics['eval_recall']:.4f}, validation loss {metrics['eval_loss']:.4f}"
        )


@dataclass(frozen=True, slots=True)
class LayoutLMTask:
    """Receipts, encoded for a start (see `Task`)."""

    start: Start
    hyperparameters: TrainingConfig
    data: DataConfig
    prepared: Prepared
    tokenizer: Any
    evaluations: F1Evaluations = field(default_factory=F1Evaluations)

    @property
    def start_dir(self) -> Path | None:
        """See `Task`."""
        return Path(self.start.path) if self.start.path else None

    @property
    def memory_hint(self) -> str:
        """See `Task`."""
        return (
            f"--batch-size {self.hyperparameters.batch_size}: halve it and double --gradient-accumulation-steps, or "
            "set gradient_checkpointing=true"
        )

    def announce(self) -> Iterator[str]:
        """See `Task`."""
        counts = self.prepared.counts
        train, validation = counts["train"], counts["validation"]
        yield (
            f"{train['receipts']} receipts to train on ({train['examples']} examples, {train['tokens']} tokens), "
            f"{validation['receipts']} to validate; {len(self.prepared.space.labels)} labels; model {self.start.name}"
        )
        if left_out := counts.get("receipts_left_out_by_split"):
            yield f"{left_out} labelled receipts are on neither side: near duplicates of held-out ones, or elsewhere"
        yield from problem_lines(counts["problems"])

    def fingerprint(self) -> dict[str, Any]:
        """See `Task`."""
        training, data = self.hyperparameters.model_dump(mode="json"), self.data
        used = data.model_dump(mode="json", include=set(snapshot.USED_BY_TRAINING))  # those added later only where used
        data_values = snapshot.encoding_config(data) | used
        return {
            "model": self.start.name,
            "labels": list(self.prepared.space.labels),
            "tokenizer": self.prepared.tokenizer_hash,
            "data": snapshot.fingerprint(self.prepared),
            "allowed_sets": [sorted(names) for names in self.prepared.sets],
            "data_config": {name: value for name, value in data_values.items() if name != "split_file"},
            "training_config": {name: value for name, value in training.items() if name not in NOT_IN_THE_CURVE},
            "processes": distributed.count(),
        }

    def record(self, job_name: str, job_id: str, model: Any) -> LayoutLMRecord:
        """See `Task`."""
        return LayoutLMRecord(
            job_name=job_name,
            job_id=job_id,
            model=self.start.name,
            training_config=self.hyperparameters.model_dump(mode="json"),
            data_config=self.data.model_dump(mode="json"),
            label_list=list(self.prepared.space.tags),
            entity_labels=list(self.prepared.space.labels),
            dataset_counts=self.prepared.counts,
            split=self.prepared.split,
        )

    def build(self, machine: Machine) -> Any:
        """See `Task`."""
        return build(self.start, self.prepared.space, self.tokenizer, self.hyperparameters)

    def trainer(self, model: Any, machine: Machine, run_dir: Path, callbacks: Sequence[Any]) -> ReceiptTrainer:
        """See `Task`."""
        config, data, prepared = self.hyperparameters, self.data, self.prepared
        examples = prepared.train.examples
        numbers = downsample(examples, data.o_entity_ratio, config.seed, len(VIEWS[data.examples]))
        collator = PackingCollator(
            examples,
            select=True,
            augment=data.augment,
            seed=config.seed,
            coarse=machine.cuda,
            simulated=self._simulated(),
        )
        batches, epochs = schedule(config, numbers, examples.lengths)
        if epochs is not None:
            callbacks = [SpacedCheckpoints(math.ceil(epochs / config.num_epochs)), *callbacks]
        return ReceiptTrainer(
            model=model,
            args=layoutlm_arguments(config, run_dir, machine, epochs),
            batches=batches,
            collator=collator,
            validation=prepared.validation,
            space=prepared.space,
            loss=MarginalLoss(target_table(prepared.space, prepared.sets), config.label_smoothing),
            callbacks=callbacks,
        )

    def _simulated(self) -> SimulatedReceipts | None:
        data = self.data
        if not data.simulated_merchants and not data.simulated_values:
            return None
        return SimulatedReceipts(
            self.prepared.train,
            self.prepared.space,
            self.tokenizer,
            data.max_length - 2,
            merchants=data.simulated_merchants,
            values=data.simulated_values,
            seed=self.hyperparameters.seed,
        )

    def finish(
        self, trainer: BatchTrainer, record: LayoutLMRecord, run_dir: Path, sink: MetricsSink, console: Console
    ) -> None:
        """See `Task`."""
        if not isinstance(trainer, ReceiptTrainer):
            raise TypeError(f"{type(trainer).__name__} is not the trainer of this family")
        told = "trained; now the scores, the model, its package for reading and the report"
        say(console, told)
        sink.log("info", told)
        predictions, labels = trainer.answers()
        words, space = self.prepared.validation.words, self.prepared.space
        record.overall, record.per_label = scores.score(words, labels, space)
        record.per_source = scores.score_by_source(words, labels, space)
        record.confusion = scores.confusion(words, labels, space)
        write_predictions(
            run_dir / PREDICTIONS_FILE, receipt_predictions(words, predictions.probabilities, labels, space)
        )
        save_model(trainer.model, self.tokenizer, space, self.data, run_dir / MODEL_DIR)
        if self.hyperparameters.export_package:
            train = self.prepared.train.words
            try_export(run_dir, record, gold_texts(train, space, "DATE"), gold_receipts(train, space))
            say(console, describe_package(record))


def schedule(
    config: TrainingConfig, numbers: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[PackedBatches, int | None]:
    """The batches of an epoch, and of few examples, whose epochs would make less than `min_steps`, the epochs.

    These get smaller batches, as a step learns as much from them, and then more epochs.

    Args:
        numbers: the examples to train on.
        lengths: tokens of every example of the data set.
    """

    def batches(tokens: int) -> PackedBatches:
        seed, ranks = config.seed, distributed.count()
        return PackedBatches(numbers, config.batch_size, seed, lengths=lengths, batch_tokens=tokens, ranks=ranks)

    def steps(made: PackedBatches) -> int:
        return -(-len(made) // (distributed.count() * config.gradient_accumulation_steps))

    usual = batches(config.batch_tokens)
    if config.max_steps or config.num_epochs * steps(usual) >= config.min_steps:
        return usual, None
    smaller = int(config.num_epochs * int(lengths[numbers].sum()) / config.min_steps)
    few = batches(min(config.batch_tokens, max(LEAST_TOKENS, smaller)))
    return few, math.ceil(max(config.num_epochs, config.min_steps / steps(few)))


def layoutlm_arguments(config: TrainingConfig, run_dir: Path, machine: Machine, few: int | None = None) -> Any:
    """transformers' arguments for a configuration of this family; after `few` epochs, if given, comes the one score."""
    return training_arguments(
        config,
        run_dir,
        machine,
        F1Evaluations(),
        num_train_epochs=few or config.num_epochs,
        eval_delay=few or 0,
        per_device_train_batch_size=config.batch_size or 1,
        lr_scheduler_type=config.lr_scheduler,
        tf32=config.tf32 if machine.cuda and torch.cuda.get_device_capability() >= (8, 0) else None,
        activation_checkpointing=config.gradient_checkpointing,
        torch_compile=config.torch_compile,
        # Batches cut by tokens differ in size and are a multiple of the processes already.
        accelerator_config={"even_batches": config.batch_size is not None},
    )


@dataclass(frozen=True, slots=True)
class LayoutLM:
    """The family (see `ModelFamily`).

    Attributes:
        model: see `receipt_trainer.models.layoutlm.model.resolve`.
        receipts_table: where the data set `dynamodb` is.
        snapshot_save, snapshot_load: folder of an encoded data set, to write or to train on.
        fills_card: on a GPU, batches have as many tokens as `hardware.batch_tokens` says.
    """

    model: str
    training: TrainingConfig
    data: DataConfig
    receipts_table: str | None = None
    snapshot_save: Path | None = None
    snapshot_load: Path | None = None
    fills_card: bool = False
    packages: ClassVar[Mapping[str, str]] = {"jinja2": "train,report", "matplotlib": "train,report"}

    def machine(self) -> Machine:
        """See `ModelFamily`."""
        return hardware.choose(self.training)

    def prepare(self, console: Console, *, is_shown: bool) -> LayoutLMTask:
        """See `ModelFamily`."""
        start = resolve(self.model)
        tokenizer, data, training = load_tokenizer(start), self.data, self.training
        start.require_length(data)
        if self.snapshot_load:
            prepared = snapshot.load(self.snapshot_load, data, tokenizer_hash(tokenizer))
            data = data.model_copy(update=prepared.origin)
        else:
            with progress_bar(console, "reading receipts", is_shown) as progress:
                prepared = prepare(data, tokenizer, table=self.receipts_table, progress=progress)
        if self.snapshot_save and distributed.is_main():
            _save_snapshot(prepared, data, self.snapshot_save)
        if training.learning_rate is None:
            training = training.model_copy(update={"learning_rate": start.default_learning_rate})
        machine = self.machine()
        if self.fills_card and machine.cuda and training.batch_size is None:
            tokens = prepared.counts["train"]["tokens"] // distributed.count() // training.gradient_accumulation_steps
            cards = [torch.cuda.get_device_properties(card) for card in range(torch.cuda.device_count())]
            memory = min(card.total_memory for card in cards)  # all processes decide alike
            fitting = hardware.batch_tokens(machine, memory, start.width, tokens)
            training = training.model_copy(update={"batch_tokens": fitting})
        return LayoutLMTask(start, training, data, prepared, tokenizer)

    def asked(self) -> dict[str, Any]:
        """See `ModelFamily`; a snapshot stands for the data's settings, and brings its own."""
        asked = {"model": self.model, **self.training.model_dump(mode="json")}
        if self.snapshot_load is None:
            asked |= self.data.model_dump(mode="json")
        if asked["learning_rate"] is None:
            del asked["learning_rate"]
        if self.fills_card:
            del asked["batch_tokens"]
        asked.pop("export_package", None)  # the package can be made of a complete run, too
        return asked

    def missing_rows(self, record: LayoutLMRecord) -> list[dict[str, Any]]:
        """See `ModelFamily`."""
        return []

    def report(self, run_dir: Path, record: LayoutLMRecord) -> Path:
        """See `ModelFamily`."""
        return write_report(run_dir, replace(load_run(run_dir), record=record))

    def conclude(self, run_dir: Path, record: LayoutLMRecord, console: Console | None) -> str:
        """See `ModelFamily`."""
        if console is not None:
            print_outcome(record, console, load_run(run_dir).predictions)
        return next_steps(run_dir)

    def describe(self, record: LayoutLMRecord) -> str:
        """See `ModelFamily`."""
        return f"f1 {record.overall.f1 if record.overall else float('nan'):.4f}"


def _save_snapshot(prepared: Prepared, data: DataConfig, directory: Path) -> None:
    """Save it; where an interrupted run of the same data has saved it already, leave it.

    Raises:
        UserError: something else is there.
    """
    if (directory / snapshot.META).is_file():
        try:
            there = snapshot.load(directory, data, prepared.tokenizer_hash)
        except UserError:
            there = None
        if there is not None and snapshot.fingerprint(there) == snapshot.fingerprint(prepared):
            return
    snapshot.save(prepared, data, directory)
