"""PaddleOCR-VL as a model family: images and their JSON, answers scored field by field."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from rich.console import Console

from receipt_trainer.config.job_file import PaddleOcrVlJob
from receipt_trainer.config.paddleocr_vl import VlTrainingConfig
from receipt_trainer.contract.names import MODEL_DIR, RUN_FILE
from receipt_trainer.contract.run_record import (
    FinalLoss,
    LeftOut,
    LossEvaluation,
    PaddleOcrVlRecord,
    ParameterCounts,
    VlResults,
)
from receipt_trainer.contract.sinks import MetricsSink
from receipt_trainer.data.document_set import TrainedAs
from receipt_trainer.models.paddleocr_vl.collator import CurriculumBatches, VlCollator, difficulties
from receipt_trainer.models.paddleocr_vl.dataset import VlData, prepare
from receipt_trainer.models.paddleocr_vl.generate import Scoring, forget_answers, metric_row, score_run
from receipt_trainer.models.paddleocr_vl.lora import trains_vision
from receipt_trainer.models.paddleocr_vl.loss import TokenLoss
from receipt_trainer.models.paddleocr_vl.merge import write_model
from receipt_trainer.models.paddleocr_vl.model import (
    Loaded,
    build,
    choose_machine,
    count_parameters,
    peak_memory_gib,
    require_attention,
    require_family,
    require_quantization,
)
from receipt_trainer.models.paddleocr_vl.processor import load_processor
from receipt_trainer.models.paddleocr_vl.rehearsal import score_rehearsal
from receipt_trainer.models.paddleocr_vl.trainer import VlTrainer
from receipt_trainer.models.paddleocr_vl.vision_features import VisionFeatures
from receipt_trainer.reports.run_folder import RunFolder, write_report
from receipt_trainer.reports.summary import describe_scores
from receipt_trainer.training import distributed
from receipt_trainer.training.arguments import NOT_IN_THE_CURVE, training_arguments
from receipt_trainer.training.callbacks import is_number
from receipt_trainer.training.console import progress_bar, say
from receipt_trainer.training.family import Evaluations, Moment
from receipt_trainer.training.hardware import Machine
from receipt_trainer.training.trainer import BatchTrainer

logger = logging.getLogger(__name__)


def fingerprint(job: PaddleOcrVlJob, data: VlData) -> dict[str, Any]:
    """The values on which the losses of a run depend; a checkpoint of another one is refused."""
    training = job.training_config.model_dump(mode="json", exclude={"evaluation", "experiment"})
    apart = {name: training.pop(name) for name in ("lora", "loss")}
    return {
        "family": "paddleocr-vl",
        "model": job.model,
        "training": {name: value for name, value in training.items() if name not in NOT_IN_THE_CURVE},
        "data": data.fingerprint(),
        "processes": distributed.count(),
        "augmentation": job.data_config.augmentation.model_dump(mode="json"),
        **apart,
    }


class LossEvaluations(Evaluations[PaddleOcrVlRecord, LossEvaluation]):
    """Losses and tokens right: the model of the lowest validation loss is kept."""

    metric = "eval_loss"
    is_higher_better = False
    sent = ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_accuracy")

    def row(self, moment: Moment, metrics: Mapping[str, float]) -> LossEvaluation:
        """See `Evaluations`."""
        scores = {name: metrics[name] for name in ("eval_loss", "eval_accuracy")}
        return LossEvaluation(**asdict(moment), **scores)

    def rows(self, record: PaddleOcrVlRecord) -> list[LossEvaluation]:
        """See `Evaluations`."""
        return record.vl.evaluations

    def keep(self, record: PaddleOcrVlRecord, rows: list[LossEvaluation]) -> None:
        """See `Evaluations`."""
        record.vl.evaluations, record.vl.best = rows, best_of(rows)
        record.vl.eval_loss = record.vl.best.eval_loss if record.vl.best else None

    def restore(self, record: PaddleOcrVlRecord, earlier: PaddleOcrVlRecord, step: int) -> None:
        """See `Evaluations`; the peak of memory is that of all attempts."""
        super().restore(record, earlier, step)
        record.vl.peak_memory_gib = earlier.vl.peak_memory_gib

    def describe(self, metrics: Mapping[str, float]) -> str:
        """See `Evaluations`."""
        return f"validation loss {metrics['eval_loss']:.4f}, tokens right {metrics['eval_accuracy']:.4f}"


def best_of(evaluations: Sequence[LossEvaluation]) -> LossEvaluation | None:
    """The first evaluation of the lowest loss, whose model is the one that is kept; None without a finite loss."""
    finite = [row for row in evaluations if is_number(row.eval_loss)]
    return min(finite, key=lambda row: row.eval_loss or 0.0, default=None)


_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class VlTask:
    """Documents, measured for a processor (see `Task`)."""

    job: PaddleOcrVlJob
    data: VlData
    processor: Any
    evaluations: LossEvaluations = field(default_factory=LossEvaluations)

    @property
    def hyperparameters(self) -> VlTrainingConfig:
        """See `Task`."""
        return self.job.training_config

    @property
    def start_dir(self) -> Path | None:
        """See `Task`."""
        start = Path(self.job.model)
        return start if start.exists() else None

    @property
    def memory_hint(self) -> str:
        """See `Task`."""
        return (
            f"per_device_train_batch_size {self.hyperparameters.per_device_train_batch_size}: halve it and double "
            "gradient_accumulation_steps, set gradient_checkpointing: true, or lower max_sequence_length"
        )

    def announce(self) -> Iterator[str]:
        """See `Task`."""
        counts, left_out = self.data.counts(), self.data.left_out
        yield (
            f"{counts['train']['documents']} documents to train on ({counts['train']['supervised_tokens']} supervised "
            f"tokens of {counts['train']['tokens']}), {counts['validation']['documents']} to validate; "
            f"model {self.job.model}"
        )
        if left_out:
            yield f"{len(left_out)} documents are too long, or not for this model, and are left out:"
            yield from (f"  {row['id']}: {row['reason']}" for row in left_out[:_SHOWN])
        if len(left_out) > _SHOWN:
            yield f"  and {len(left_out) - _SHOWN} more; run.json names them all"

    def fingerprint(self) -> dict[str, Any]:
        """See `Task`."""
        return fingerprint(self.job, self.data)

    def record(self, job_name: str, job_id: str, model: Any) -> PaddleOcrVlRecord:
        """See `Task`."""
        results = VlResults(
            left_out=[LeftOut(**row) for row in self.data.left_out],
            parameters=ParameterCounts(**count_parameters(model)),
        )
        return PaddleOcrVlRecord(
            job_name=job_name,
            job_id=job_id,
            model=self.job.model,
            training_config=self.job.training_config.model_dump(mode="json"),
            data_config=self.job.data_config.model_dump(mode="json"),
            dataset_counts=self.data.counts(),
            vl=results,
        )

    def build(self, machine: Machine) -> Any:
        """See `Task`."""
        return build(self.job.model, self.job.training_config, machine)

    def trainer(self, model: Any, machine: Machine, run_dir: Path, callbacks: Sequence[Any]) -> VlTrainer:
        """See `Task`."""
        training, data = self.job.training_config, self.data
        examples, held_out = data.train.examples, data.validation.examples
        num_epochs = _num_epochs(training, len(examples))
        is_seen_anew = self.job.data_config.augmentation.enabled or num_epochs <= 1
        num_kept = len(held_out) + (0 if is_seen_anew else len(examples))
        features = None if is_seen_anew else vision_features(model, training, len(examples), num_kept)
        held_out_features = vision_features(model, training, len(held_out), num_kept)
        batches = CurriculumBatches(
            data.train.lengths,
            training.per_device_train_batch_size,
            training.seed,
            schedule=training.difficulty_schedule,
            difficulty=difficulties(examples),
            num_epochs=num_epochs,
        )
        collator = VlCollator(
            examples,
            self.processor,
            augmentation=self.job.data_config.augmentation,
            seed=training.seed,
            max_length=training.max_sequence_length,
            features=features,
            field_subsets=training.field_subsets,
        )
        size = training.eval_batch_size or training.per_device_train_batch_size
        by_length = sorted(range(len(held_out)), key=lambda number: (data.validation.lengths[number], number))
        arguments = training_arguments(
            training,
            run_dir,
            machine,
            self.evaluations,
            num_train_epochs=training.num_train_epochs,
            per_device_train_batch_size=training.per_device_train_batch_size,
            lr_scheduler_type=training.lr_scheduler_type,
        )
        return VlTrainer(
            model=model,
            args=arguments,
            batches=batches,
            collator=collator,
            num_examples=len(examples),
            validation=VlCollator(held_out, self.processor, features=held_out_features),
            validation_batches=[by_length[first : first + size] for first in range(0, len(by_length), size)],
            loss=TokenLoss(training.loss),
            features=(features, held_out_features),
            callbacks=callbacks,
        )

    def finish(
        self, trainer: BatchTrainer, record: PaddleOcrVlRecord, run_dir: Path, sink: MetricsSink, console: Console
    ) -> None:
        """See `Task`."""
        peak_gib = peak_memory_gib(trainer.args.device.type == "cuda")
        record.vl.peak_memory_gib = max(record.vl.peak_memory_gib or 0.0, peak_gib)
        record.vl.final = FinalLoss(**{f"eval_{name}": value for name, value in trainer.judge().items()})
        whole = None if self.hyperparameters.lora.enabled else self.job.model
        trained = TrainedAs(self.hyperparameters.prompt, self.hyperparameters.compact_items)
        write_model(trainer.model, self.processor, run_dir / MODEL_DIR, base=whole, trained=trained)
        record.write(run_dir / RUN_FILE)
        evaluation = self.job.training_config.evaluation
        if evaluation.enabled:
            device = trainer.args.device
            # Answers that wait from an interrupted scoring are taken for this model's, if they are of this very run.
            run = self.fingerprint() | {"started_at": record.started_at}
            asked = {"run": run, "step": trainer.state.best_global_step, "device": str(device)}
            loaded = Loaded(trainer.model.eval(), self.processor, self.job.model, None, device)
            scoring = Scoring(run_dir, evaluation, self.data.validation, asked)
            with trainer.accelerator.autocast():
                score_run(loaded, scoring, record, sink, console)
        if self.data.rehearsal:
            sink.log("info", f"base and kept model answer {len(self.data.rehearsal)} pages of the base's own task")
            loaded = Loaded(trainer.model.eval(), self.processor, self.job.model, None, trainer.args.device)
            with trainer.accelerator.autocast():
                scores = score_rehearsal(loaded, self.data.rehearsal, evaluation.batch_size)
            record.vl.rehearsal = scores.model_copy(update={"mixed": self.data.mixed})


def vision_features(model: Any, training: VlTrainingConfig, num_examples: int, total: int) -> VisionFeatures | None:
    """Where to keep the features of images; None if they change with the weights, or are not to be kept.

    Args:
        total: examples of both sides that share the disk.
    """
    if not training.vision_cache_gb or trains_vision(model):
        return None
    share = num_examples / total / distributed.count()
    try:
        return VisionFeatures(num_examples, training.vision_cache_gb * 1e9, share)
    except OSError as error:
        logger.warning("image features are not kept: %s", error)
        return None


def _num_epochs(training: VlTrainingConfig, count: int) -> float:
    """Passes over the examples, by steps where those are given."""
    seen = (
        training.max_steps
        * training.gradient_accumulation_steps
        * training.per_device_train_batch_size
        * distributed.count()
    )
    return seen / count if training.max_steps else training.num_train_epochs


@dataclass(frozen=True, slots=True)
class PaddleOcrVl:
    """The family (see `ModelFamily`)."""

    job: PaddleOcrVlJob
    packages: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("peft", "PIL", "jsonschema", "rapidfuzz", "scipy", "jinja2", "matplotlib"), "train,report,vl"
    )

    def machine(self) -> Machine:
        """See `ModelFamily`."""
        return choose_machine(self.job.training_config)

    def prepare(self, console: Console, *, is_shown: bool) -> VlTask:
        """See `ModelFamily`."""
        name, training = self.job.model, self.job.training_config
        if training.use_quantization:
            require_quantization(training.device)
        require_attention(training.attn_implementation, training.device)
        require_family(name)
        processor = load_processor(name, max_image_pixels=training.max_image_pixels)
        with progress_bar(console, "measuring documents", is_shown) as progress:
            return VlTask(self.job, prepare(self.job.data_config, training, processor, progress), processor)

    def asked(self) -> dict[str, Any]:
        """See `ModelFamily`."""
        training, data = (part.model_dump(mode="json") for part in (self.job.training_config, self.job.data_config))
        return {"model": self.job.model, **training, **data}

    def missing_rows(self, record: PaddleOcrVlRecord) -> list[dict[str, Any]]:
        """See `ModelFamily`."""
        row = metric_row(record)
        return [row] if row else []

    def report(self, run_dir: Path, record: PaddleOcrVlRecord) -> Path:
        """See `ModelFamily`."""
        return write_report(run_dir, RunFolder(record, None))

    def conclude(self, run_dir: Path, record: PaddleOcrVlRecord, console: Console | None) -> str:
        """See `ModelFamily`."""
        forget_answers(run_dir)
        if console is not None:
            say(console, f"best model: {describe_scores(record)}")
        place = shlex.quote(str(run_dir))
        return f"next: receipt-trainer vl evaluate --model-path {place} --test-dir FOLDER --output scores.json"

    def describe(self, record: PaddleOcrVlRecord) -> str:
        """See `ModelFamily`."""
        return describe_scores(record)
