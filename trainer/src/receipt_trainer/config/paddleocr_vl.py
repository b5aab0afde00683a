"""Configuration of the second model family: PaddleOCR-VL with LoRA, from document images to JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, model_validator

from receipt_trainer.config.base import Strict

BASE_MODEL: Final = "PaddlePaddle/PaddleOCR-VL"
"""Name of the published model on the hub."""

BASES: Final[Mapping[str, str]] = {"1.0": BASE_MODEL, "1.5": f"{BASE_MODEL}-1.5", "1.6": f"{BASE_MODEL}-1.6"}
"""Names on the hub of its versions. Chat template and bounds of pixels are those of the files there."""

DEFAULT_PROMPT: Final = "OCR:{}"
"""The task that the published model knows, and the form of the answer: what it is asked where it was not trained."""

RECIPE: Final[Mapping[str, Any]] = {
    "learning_rate": 1e-4,
    "warmup_ratio": 0.05,
    "prompt": DEFAULT_PROMPT,
    "lora": {"target_modules": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")},
}
"""What a job that names its base by version is trained with, unless it says otherwise: adapters on all linear layers of
the language model, at the rate that others train such adapters with. The fields' own defaults are those of 0.1.0."""

INSTRUCTION: Final = (
    "Read this invoice or receipt and answer with its data as JSON: document_type, vendor, client, invoice_number, "
    "date, due_date, currency, line_items, subtotal, tax, tax_rate, discount, grand_total. What is not there is null."
)
"""What version 0.1.0 asked where a line had no instruction; its models do not say with what they were trained."""

MAX_IMAGE_PIXELS: Final = 752_640
"""960 image tokens, so that nearly every page fits 2048 tokens with its answer."""

SHORT_NAMES: Final[Mapping[str, str]] = {
    "num_epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "lr_scheduler": "lr_scheduler_type",
}
"""Names of the first family's job files that stand for one of this family's."""


class LoraSection(Strict):
    """Low-rank adapters (Hu et al. 2021) by peft."""

    enabled: bool = Field(True, description="Train adapters; false trains all weights of language model and projector")
    r: int = Field(16, ge=1, le=1024, description="Rank of an adapter")
    lora_alpha: float = Field(32, gt=0, description="An adapter's output is scaled by lora_alpha / r")
    target_modules: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj"),
        min_length=1,
        description="Linear layers that get an adapter, by their last name",
    )
    dropout: float = Field(0.05, ge=0, lt=1, description="Dropout before an adapter")
    include_vision: bool = Field(False, description="Train the vision tower too; frozen otherwise")
    modules_to_save: tuple[str, ...] = Field(
        (), description="Modules trained in full beside the adapters and stored with them: embed_tokens, lm_head, ..."
    )


class LossSection(Strict):
    """Loss of a supervised token; neither: cross entropy."""

    use_focal: bool = Field(False, description="Focal loss (Lin et al. 2017): alpha * (1 - p)^gamma * cross entropy")
    focal_alpha: float = Field(0.25, gt=0, le=100, description="Factor of the entire focal loss")
    focal_gamma: float = Field(
        2.0, ge=0, le=10, description="How much less a token counts that is predicted well already"
    )
    use_label_smoothing: bool = Field(False, description="Spread some mass over all tokens (Szegedy et al. 2016)")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="The probability mass that is spread")

    @model_validator(mode="after")
    def _one_loss(self) -> LossSection:
        if self.use_focal and self.use_label_smoothing:
            raise ValueError("use_focal and use_label_smoothing are two losses: set one of them")
        return self


class AugmentationSection(Strict):
    """Changes to training images, drawn anew each epoch."""

    enabled: bool = Field(False, description="Augment training images")
    rotation_range: float = Field(3.0, ge=0, le=45, description="Degrees to either side at most")
    brightness_range: float = Field(0.2, ge=0, lt=1, description="Brightness times 1 - x to 1 + x")
    contrast_range: float = Field(0.2, ge=0, lt=1, description="Contrast times 1 - x to 1 + x")
    noise_std: float = Field(0.01, ge=0, le=1, description="Gaussian noise, as a share of white")
    blur_probability: float = Field(0.1, ge=0, le=1, description="Share of images that are blurred a little")


class EvaluationSection(Strict):
    """Answers of the kept model to validation documents, scored when training is over."""

    enabled: bool = Field(True, description="Let the kept model answer validation documents, and score its answers")
    documents: int = Field(200, ge=0, description="Documents at most, chosen by hash; 0: all. Answers take time")
    max_new_tokens: int | None = Field(
        None, ge=1, le=131072, description="Longest answer in tokens; unset: one and a half times the longest true one"
    )
    batch_size: int = Field(4, ge=1, le=4096, description="Documents at once; halved where the GPU's memory is short")


class ExperimentSection(Strict):
    """The purpose of the configuration; for people and for the experiment log."""

    name: str | None = Field(None, description="Name in the experiment log; unset: the file's")
    description: str = Field("", description="Free text")
    hyperparameters_under_test: tuple[str, ...] = Field((), description="Keys whose effect is tested")


class VlTrainingConfig(Strict):
    """`training_config` of a job file. Lengths are in optimizer steps or epochs as said; losses are natural logs.

    Defaults are those of version 0.1.0, so that a job of then is the same job; the examples say what trains better.
    """

    added: ClassVar[frozenset[str]] = frozenset(
        {"prompt", "attn_implementation", "vision_cache_gb", "compact_items", "field_subsets"}
    )

    learning_rate: float = Field(2e-5, gt=0, le=1, description="Peak of AdamW's schedule")
    per_device_train_batch_size: int = Field(8, ge=1, le=4096, description="Examples a device and batch")
    gradient_accumulation_steps: int = Field(2, ge=1, le=1024, description="Batches in one optimizer step")
    num_train_epochs: float = Field(5.0, gt=0, le=10000, description="Passes over the training examples")
    max_steps: int = Field(0, ge=0, description="Optimizer steps; above 0 it overrides num_train_epochs")
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of all steps in which the learning rate climbs")
    weight_decay: float = Field(0.01, ge=0, le=1, description="Decoupled decay, not on norms and biases")
    max_grad_norm: float = Field(1.0, ge=0, description="Gradient clipping by global L2 norm; 0 turns it off")
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        "cosine", description="Shape of the decay after warm-up (transformers' names)"
    )
    gradient_checkpointing: bool = Field(True, description="Recompute activations in the backward pass: less memory")
    prompt: str = Field(
        INSTRUCTION,
        min_length=1,
        max_length=2000,
        description="What the model is asked where a line has no instruction; stored with the model",
    )
    compact_items: bool = Field(
        False, description="Line items are learned as rows, their keys once: shorter answers; stored with the model"
    )
    field_subsets: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the documents that are asked for some of their fields only, drawn anew each epoch",
    )
    max_sequence_length: int = Field(
        2048, ge=16, le=131072, description="Longest example in tokens, image and answer; longer ones are left out"
    )
    max_image_pixels: int | None = Field(
        MAX_IMAGE_PIXELS, ge=28 * 28, description="Larger images are scaled down to it; null: the model's own bound"
    )
    bf16: bool = Field(True, description="bfloat16 products where the hardware has them; fp32 elsewhere")
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2"] = Field(
        "sdpa", description="How attention is computed; flash_attention_2 needs a GPU, bf16 and the package flash-attn"
    )
    use_quantization: bool = Field(False, description="Base weights in 4 bits (QLoRA): needs CUDA and bitsandbytes")
    difficulty_schedule: Literal["none", "easy_to_hard"] = Field(
        "none", description="Order of examples: shuffled, or easy ones first in the early epochs"
    )
    early_stopping_patience: int = Field(
        0, ge=0, description="Evaluations without a lower eval loss before stopping; 0: never"
    )
    eval_batch_size: int | None = Field(None, ge=1, le=4096, description="Unset: that of training")
    save_steps: int = Field(
        0, ge=0, description="Optimizer steps between checkpoints; 0: one an epoch, with evaluation"
    )
    save_total_limit: int = Field(2, ge=1, description="Checkpoints kept; the best and the newest always are")
    logging_steps: int = Field(10, ge=1, description="Optimizer steps between logged losses")
    dataloader_workers: int = Field(
        0, ge=0, le=64, description="Processes that read and augment images; 0: with a GPU one for each CPU, at most 8"
    )
    vision_cache_gb: float = Field(
        20.0,
        ge=0,
        le=100_000,
        description="Local disk at most for what a frozen vision tower makes of unaugmented images; 0: none is kept",
    )
    seed: int = Field(42, ge=0, lt=2**32, description="Seed of adapters, dropout, augmentation and order")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train; auto: a GPU if there is one")
    lora: LoraSection = Field(default_factory=LoraSection)
    loss: LossSection = Field(default_factory=LossSection)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)
    experiment: ExperimentSection = Field(default_factory=ExperimentSection)

    @model_validator(mode="after")
    def _consistent(self) -> VlTrainingConfig:
        if self.use_quantization and not self.lora.enabled:
            raise ValueError("use_quantization needs lora.enabled: 4-bit weights cannot be trained themselves")
        if self.field_subsets and not self.prompt.endswith("{}"):
            raise ValueError("field_subsets needs a prompt that ends in {}, such as OCR:{}")
        if self.attn_implementation == "flash_attention_2" and not self.bf16:
            raise ValueError("attn_implementation: flash_attention_2 needs bf16: true")
        return self

    @model_validator(mode="before")
    @classmethod
    def _short_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        changed = dict(values)
        for short, name in SHORT_NAMES.items():
            if short in changed and name in changed:
                raise ValueError(f"{short} and {name} are one thing: give one of them")
            if short in changed:
                changed[name] = changed.pop(short)
        return changed


class VlDataConfig(Strict):
    """`data_config` of a job file: what to train on."""

    added: ClassVar[frozenset[str]] = frozenset({"rehearsal_path", "rehearsal_share"})

    dataset_path: str = Field(description="JSON lines to train on, or a folder with train.jsonl, as the worker sees it")
    val_path: str | None = Field(None, description="JSON lines to validate on; unset: val.jsonl beside, or a share")
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="Share held out where there is no val_path")
    rehearsal_path: str | None = Field(
        None, description="JSON lines of `vl rehearse`: the base's own task, scored before and after training"
    )
    rehearsal_share: float = Field(
        0.0, ge=0, le=0.9, description="Share of the training examples that are such pages, against forgetting"
    )
    augmentation: AugmentationSection = Field(default_factory=AugmentationSection)

    @model_validator(mode="after")
    def _pages_to_mix(self) -> VlDataConfig:
        if self.rehearsal_share and self.rehearsal_path is None:
            raise ValueError("rehearsal_share needs rehearsal_path: `receipt-trainer vl rehearse` writes such pages")
        return self
